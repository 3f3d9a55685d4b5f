package authz

import (
	"errors"
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// textOf compiles one string match. Matching is on what an authenticated peer proved, so an empty
// exact string, which nothing can equal, is a mistake and not a way to say "plaintext".
func textOf(m *security.StringMatch) (text, error) {
	if err := known(m); err != nil {
		return text{}, err
	}
	var t text
	switch v := m.GetMatchType().(type) {
	case *security.StringMatch_Exact:
		t = text{exact, v.Exact}
		if v.Exact == "" {
			return t, errors.New("empty exact string")
		}
	case *security.StringMatch_Prefix:
		t = text{prefix, v.Prefix}
	case *security.StringMatch_Suffix:
		t = text{suffix, v.Suffix}
	case *security.StringMatch_Presence:
		t = text{presence, ""}
	default:
		return t, errors.New("string match of an unknown kind")
	}
	if len(t.want) > maxString {
		return t, fmt.Errorf("string of %d bytes, at most %d", len(t.want), maxString)
	}
	return t, nil
}

// prefixOf compiles an address block. IPv4 in IPv6 form means the IPv4 block: flows carry unmapped
// addresses.
func prefixOf(a *security.Address) (netip.Prefix, error) {
	if err := known(a); err != nil {
		return netip.Prefix{}, err
	}
	ip, ok := netip.AddrFromSlice(a.GetAddress())
	if !ok {
		return netip.Prefix{}, fmt.Errorf("address of %d bytes", len(a.GetAddress()))
	}
	length := a.GetLength()
	if length > uint32(ip.BitLen()) {
		return netip.Prefix{}, fmt.Errorf("prefix length %d of %s", length, ip)
	}
	if ip.Is4In6() {
		if length < 96 {
			return netip.Prefix{}, fmt.Errorf("prefix length %d of the IPv4-mapped %s", length, ip)
		}
		ip, length = ip.Unmap(), length-96
	}
	return netip.PrefixFrom(ip, int(length)).Masked(), nil
}

func portOf(p uint32) (uint16, error) {
	if p == 0 || p > 65535 {
		return 0, fmt.Errorf("port %d", p)
	}
	return uint16(p), nil
}

func accountOf(a *security.ServiceAccountMatch) (account, error) {
	if err := known(a); err != nil {
		return account{}, err
	}
	if a.GetNamespace() == "" || a.GetServiceAccount() == "" {
		return account{}, errors.New("service account without namespace or name")
	}
	if len(a.GetNamespace())+len(a.GetServiceAccount()) > maxString {
		return account{}, fmt.Errorf("service account of more than %d bytes", maxString)
	}
	return account{a.GetNamespace(), a.GetServiceAccount()}, nil
}

// known refuses a missing element and one with fields from a later version.
func known(m proto.Message) error {
	r := m.ProtoReflect()
	if !r.IsValid() {
		return errors.New("missing element")
	}
	if len(r.GetUnknown()) > 0 {
		return errors.New("a field that is not known to this version")
	}
	return nil
}
