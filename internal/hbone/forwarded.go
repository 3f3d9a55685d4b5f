package hbone

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const maxForwarded = 4 * kib

// ErrForwarded is wrapped by ParseForwarded.
var ErrForwarded = errors.New("bad forwarded header")

// FormatForwarded writes `for="<address>:<port>"` and, if a service was called, `;host=<name>`.
func FormatForwarded(from netip.AddrPort, host string) string {
	s := `for="` + from.String() + `"`
	if host != "" {
		s += ";host=" + quoteForwarded(host)
	}
	return s
}

// ParseForwarded reads the first element of a Forwarded header (RFC 7239). forAddr is zero if `for` is
// missing or hidden ("unknown", "_name"); its port is 0 if none is said. Both are hearsay.
func ParseForwarded(s string) (forAddr netip.AddrPort, host string, err error) {
	if len(s) > maxForwarded {
		return netip.AddrPort{}, "", fmt.Errorf("%w: %d bytes", ErrForwarded, len(s))
	}
	sawFor := false
	for more := true; more; {
		var name, value string
		if name, value, s, more, err = nextForwarded(s); err != nil {
			return netip.AddrPort{}, "", err
		}
		switch {
		case strings.EqualFold(name, "for") && !sawFor:
			sawFor = true
			if forAddr, err = parseNode(value); err != nil {
				return netip.AddrPort{}, "", err
			}
		case strings.EqualFold(name, "host"):
			setOnce(&host, value)
		}
	}
	if host != "" && !forwardedHost(host) {
		return netip.AddrPort{}, "", fmt.Errorf("%w: host %.300q", ErrForwarded, host)
	}
	return forAddr, host, nil
}

// nextForwarded takes one pair off s; more says that another pair of the same element follows.
func nextForwarded(s string) (name, value, rest string, more bool, err error) {
	name, rest, ok := strings.Cut(s, "=")
	name = strings.Trim(name, " \t")
	if !ok || !isToken(name) {
		return "", "", "", false, fmt.Errorf("%w: %.300q", ErrForwarded, s)
	}
	if strings.HasPrefix(rest, `"`) {
		value, rest, err = unquote(rest)
	} else {
		end := strings.IndexAny(rest, ";, \t")
		if end < 0 {
			end = len(rest)
		}
		value, rest = rest[:end], rest[end:]
	}
	rest = strings.TrimLeft(rest, " \t")
	switch {
	case err != nil:
		return "", "", "", false, err
	case rest == "" || rest[0] == ',':
		return name, value, "", false, nil
	case rest[0] == ';':
		return name, value, rest[1:], true, nil
	}
	return "", "", "", false, fmt.Errorf("%w: after %s: %.300q", ErrForwarded, name, rest)
}

// unquote takes a quoted-string off the front of s (RFC 9110 5.6.4).
func unquote(s string) (value, rest string, err error) {
	if end := strings.IndexAny(s[1:], `"\`) + 1; end > 0 && s[end] == '"' { // nothing is escaped: no copy
		return s[1:end], s[end+1:], nil
	}
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return out.String(), s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		out.WriteByte(s[i])
	}
	return "", "", fmt.Errorf("%w: quote is not closed", ErrForwarded)
}

// parseNode reads an address with or without a port; hidden ones are zero (RFC 7239 6).
func parseNode(s string) (netip.AddrPort, error) {
	if strings.EqualFold(s, "unknown") || strings.HasPrefix(s, "_") {
		return netip.AddrPort{}, nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Addr().Zone() == "" {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil || addr.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%w: for %.300q", ErrForwarded, s)
	}
	return netip.AddrPortFrom(addr.Unmap(), 0), nil
}

// forwardedHost accepts a DNS name or address, with or without a port.
func forwardedHost(s string) bool {
	if validHost(s) {
		return true
	}
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return true
	}
	_, _, _, _, err := ParseAuthority(s)
	return err == nil
}

func quoteForwarded(s string) string {
	if isToken(s) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// isToken reports whether s is an RFC 9110 token.
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return true
}
