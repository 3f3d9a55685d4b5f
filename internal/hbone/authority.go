package hbone

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxHost is the longest DNS name in text form (RFC 1035 3.1).
const maxHost = 253

// ErrAuthority is wrapped by ParseAuthority.
var ErrAuthority = errors.New("bad authority")

// ParseAuthority reads a tunnel's target: "ip:port", "[v6]:port" or "hostname:port", port 1-65535.
// host is the part before the port, without brackets, names in lower case; ip is set and unmapped if
// it is an address. User info, zones, empty parts and anything but a DNS name are refused.
func ParseAuthority(s string) (host string, port uint16, ip netip.Addr, isIP bool, err error) {
	host, digits, err := splitAuthority(s)
	if err != nil {
		return "", 0, netip.Addr{}, false, err
	}
	n, perr := strconv.ParseUint(digits, 10, 16)
	if perr != nil || n == 0 || digits[0] < '1' || digits[0] > '9' {
		return "", 0, netip.Addr{}, false, fmt.Errorf("%w: port of %.300q", ErrAuthority, s)
	}
	addr, aerr := netip.ParseAddr(host)
	v6 := strings.HasPrefix(s, "[")
	switch {
	case aerr == nil && addr.Zone() == "" && addr.Is6() == v6:
		return host, uint16(n), addr.Unmap(), true, nil
	case aerr != nil && !v6 && validHost(host):
		return strings.ToLower(host), uint16(n), netip.Addr{}, false, nil
	}
	return "", 0, netip.Addr{}, false, fmt.Errorf("%w: host of %.300q", ErrAuthority, s)
}

// FormatAuthority is the inverse of ParseAuthority for a host name or an address without brackets.
func FormatAuthority(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func splitAuthority(s string) (host, port string, err error) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || i == len(s)-1 {
		return "", "", fmt.Errorf("%w: %.300q is not host:port", ErrAuthority, s)
	}
	host, port = s[:i], s[i+1:]
	if host[0] == '[' {
		if host[len(host)-1] != ']' {
			return "", "", fmt.Errorf("%w: brackets of %.300q", ErrAuthority, s)
		}
		host = host[1 : len(host)-1]
	}
	return host, port, nil
}

// validHost accepts dot-separated labels of letters, digits, '-' and '_' (Kubernetes names are stricter).
func validHost(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, hostChars) != "" {
			return false
		}
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	return strings.Trim(last, "0123456789") != "" // else it is an address gone wrong
}

const hostChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
