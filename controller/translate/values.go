package translate

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// each translates a list of values; one that cannot be understood spoils the policy.
func each[T any](r *reader, path string, values []string, one func(string) (T, error)) (out []T) {
	for i, v := range values {
		t, err := one(v)
		if err != nil {
			r.fail(fmt.Sprintf("%s[%d]", path, i), err)
			continue
		}
		out = append(out, t)
	}
	return out
}

// textOf translates a value with an optional wildcard at one end. "*" is whoever proved an identity.
func textOf(v string) (*security.StringMatch, error) {
	v = strings.TrimPrefix(v, "spiffe://")
	switch word := strings.Trim(v, "*"); {
	case v == "*":
		return &security.StringMatch{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}, nil
	case word == "":
		return nil, fmt.Errorf("%q is no value", v)
	case v == word && !strings.Contains(word, "*"):
		return &security.StringMatch{MatchType: &security.StringMatch_Exact{Exact: word}}, nil
	case v == "*"+word && !strings.Contains(word, "*"):
		return &security.StringMatch{MatchType: &security.StringMatch_Suffix{Suffix: word}}, nil
	case v == word+"*" && !strings.Contains(word, "*"):
		return &security.StringMatch{MatchType: &security.StringMatch_Prefix{Prefix: word}}, nil
	}
	return nil, fmt.Errorf("%q: a wildcard may stand at one end only", v)
}

// domainOf translates a trust domain into principals: they begin with it.
func domainOf(v string) (*security.StringMatch, error) {
	m, err := textOf(v)
	switch {
	case err != nil:
		return nil, err
	case m.GetExact() != "":
		return &security.StringMatch{MatchType: &security.StringMatch_Prefix{Prefix: m.GetExact() + "/"}}, nil
	case m.GetSuffix() != "":
		return nil, fmt.Errorf("%q: a trust domain by its end is %s", v, notSupported)
	}
	return m, nil
}

// accountOf translates "namespace/name", or "name" in the policy's own namespace.
func (r *reader) accountOf(v string) (*security.ServiceAccountMatch, error) {
	namespace, name, ok := strings.Cut(v, "/")
	if !ok {
		namespace, name = r.namespace, v
	}
	if namespace == "" || name == "" || strings.ContainsAny(v, "*") || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q is neither <namespace>/<service account> nor <service account>", v)
	}
	return &security.ServiceAccountMatch{Namespace: namespace, ServiceAccount: name}, nil
}

// blockOf translates an address or a CIDR block.
func blockOf(v string) (*security.Address, error) {
	p, err := netip.ParsePrefix(v)
	if err != nil {
		ip, ipErr := netip.ParseAddr(v)
		if ipErr != nil || ip.Zone() != "" {
			return nil, fmt.Errorf("%q is neither an address nor a block", v)
		}
		p = netip.PrefixFrom(ip, ip.BitLen())
	}
	return &security.Address{Address: p.Addr().AsSlice(), Length: uint32(p.Bits())}, nil
}

func portOf(v string) (uint32, error) {
	p, err := strconv.ParseUint(v, 10, 16)
	if err != nil || p == 0 {
		return 0, errors.New(strconv.Quote(v) + " is no port")
	}
	return uint32(p), nil
}
