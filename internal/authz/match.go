package authz

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/internal/identity"
)

// rule is an AND of clauses; one without clauses always matches.
type rule struct {
	clauses       []clause
	plaintextOnly bool // the shape of STRICT: refuses plaintext because it is plaintext
}

// clause is an OR of matches; one without matches is true.
type clause []match

// match is an AND over kinds of attribute; within a kind, OR of the positive list and none of the
// negative one.
type match struct {
	namespaces, notNamespaces []text
	principals, notPrincipals []text
	accounts, notAccounts     []account
	sourceIPs, notSourceIPs   []netip.Prefix
	destIPs, notDestIPs       []netip.Prefix
	ports, notPorts           []uint16
}

func (r *rule) matches(f *Flow, a Action) bool {
	for _, c := range r.clauses {
		if !c.matches(f, a) {
			return false
		}
	}
	return true
}

func (c clause) matches(f *Flow, a Action) bool {
	for i := range c {
		if c[i].matches(f, a) {
			return true
		}
	}
	return len(c) == 0
}

func (m *match) matches(f *Flow, a Action) bool {
	if m.empty() {
		return a == Deny // nothing was said: never open
	}
	return m.matchesSource(f, a) &&
		within(f.SourceIP, m.sourceIPs, m.notSourceIPs, a) &&
		within(f.Dest.Addr(), m.destIPs, m.notDestIPs, a) &&
		(len(m.ports) == 0 || slices.Contains(m.ports, f.Dest.Port())) &&
		!slices.Contains(m.notPorts, f.Dest.Port())
}

func (m *match) empty() bool {
	return !m.onIdentity() && !m.onPorts() &&
		len(m.sourceIPs)+len(m.notSourceIPs)+len(m.destIPs)+len(m.notDestIPs) == 0
}

func (m *match) onIdentity() bool {
	return m.identityIs() || m.identityIsNot()
}

func (m *match) identityIs() bool { return len(m.namespaces)+len(m.principals)+len(m.accounts) > 0 }

func (m *match) identityIsNot() bool {
	return len(m.notNamespaces)+len(m.notPrincipals)+len(m.notAccounts) > 0
}

func (m *match) onPorts() bool { return len(m.ports)+len(m.notPorts) > 0 }

// matchesSource judges the identity. Plaintext proves nothing: it never satisfies a positive match;
// it satisfies a negative one only where that refuses.
func (m *match) matchesSource(f *Flow, a Action) bool {
	if f.Source.IsZero() {
		return !m.identityIs() && (!m.identityIsNot() || a == Deny)
	}
	return (len(m.namespaces) == 0 || anyText(m.namespaces, one(f.Source.Namespace))) &&
		!anyText(m.notNamespaces, one(f.Source.Namespace)) &&
		(len(m.principals) == 0 || anyText(m.principals, principal(f.Source))) &&
		!anyText(m.notPrincipals, principal(f.Source)) &&
		(len(m.accounts) == 0 || slices.Contains(m.accounts, accountIn(f.Source))) &&
		!slices.Contains(m.notAccounts, accountIn(f.Source))
}

// within judges an address. An address that is not known matches only where that refuses.
func within(ip netip.Addr, in, notIn []netip.Prefix, a Action) bool {
	if !ip.IsValid() {
		return len(in)+len(notIn) == 0 || a == Deny
	}
	return (len(in) == 0 || anyPrefix(in, ip)) && !anyPrefix(notIn, ip)
}

func anyPrefix(list []netip.Prefix, ip netip.Addr) bool {
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// account is a service account; the trust domain does not count.
type account struct{ namespace, name string }

func accountIn(id identity.ID) account { return account{id.Namespace, id.ServiceAccount} }

// kind is how a text matches.
type kind uint8

const (
	exact kind = iota
	prefix
	suffix
	presence
)

// text matches a string.
type text struct {
	kind kind
	want string
}

func anyText(list []text, got parts) bool {
	for i := range list {
		if list[i].matches(&got) {
			return true
		}
	}
	return false
}

func (t *text) matches(got *parts) bool {
	switch t.kind {
	case exact:
		return got.len() == len(t.want) && got.hasPrefix(t.want)
	case prefix:
		return got.hasPrefix(t.want)
	case suffix:
		return got.hasSuffix(t.want)
	default:
		return got.len() > 0
	}
}

// parts is a string in pieces, so that a principal need not be put together for each connection.
type parts [5]string

func one(s string) parts { return parts{s} }

func principal(id identity.ID) parts {
	return parts{id.TrustDomain, "/ns/", id.Namespace, "/sa/", id.ServiceAccount}
}

func (p *parts) len() int {
	n := 0
	for _, s := range p {
		n += len(s)
	}
	return n
}

func (p *parts) hasPrefix(want string) bool {
	for _, s := range p {
		if len(want) <= len(s) {
			return strings.HasPrefix(s, want)
		}
		if !strings.HasPrefix(want, s) {
			return false
		}
		want = want[len(s):]
	}
	return want == ""
}

func (p *parts) hasSuffix(want string) bool {
	for i := len(p) - 1; i >= 0; i-- {
		s := p[i]
		if len(want) <= len(s) {
			return strings.HasSuffix(s, want)
		}
		if !strings.HasSuffix(want, s) {
			return false
		}
		want = want[:len(want)-len(s)]
	}
	return want == ""
}

// plaintextOnly recognises what PeerAuthentication is converted to: "not authenticated", alone or
// together with ports.
func plaintextOnly(clauses []clause) bool {
	required := false
	for _, c := range clauses {
		all := len(c) > 0
		for i := range c {
			m := &c[i]
			if !m.onlyAbsenceAndPorts() {
				return false
			}
			all = all && len(m.notPrincipals) == 1
		}
		required = required || all
	}
	return required
}

func (m *match) onlyAbsenceAndPorts() bool {
	absence := len(m.notPrincipals) == 1 && m.notPrincipals[0].kind == presence
	other := m.identityIs() || len(m.notNamespaces)+len(m.notAccounts) > 0 ||
		len(m.sourceIPs)+len(m.notSourceIPs)+len(m.destIPs)+len(m.notDestIPs) > 0
	return !other && (absence || len(m.notPrincipals) == 0 && m.onPorts())
}
