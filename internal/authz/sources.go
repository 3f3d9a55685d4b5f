package authz

import (
	"strings"

	"github.com/ambitmesh/ambit/internal/identity"
)

// sources are whom a policy is about: what matches it is one of them.
type sources struct {
	principals map[identity.ID]struct{}
	accounts   map[account]struct{}
	namespaces map[string]struct{}
}

// sources returns whom the policy is about; false if it may match anybody, or somebody without an identity.
func (p *Policy) sources() (sources, bool) {
	s := sources{map[identity.ID]struct{}{}, map[account]struct{}{}, map[string]struct{}{}}
	if p.unreadable != "" {
		return s, p.action == Allow // which never matches; a DENY always does
	}
	for i := range p.rules {
		if !p.rules[i].sources(&s) {
			return s, false
		}
	}
	return s, true
}

// sources adds those of one clause, if there is one that only sources can satisfy: all clauses must.
func (r *rule) sources(s *sources) bool {
	for _, c := range r.clauses {
		if c.named() {
			for i := range c {
				c[i].sources(s)
			}
			return true
		}
	}
	return false
}

// named reports whether each of the matches, of which one must hold, names its sources.
func (c clause) named() bool {
	for i := range c {
		m := &c[i]
		if !allPrincipals(m.principals) && len(m.accounts) == 0 && !allExact(m.namespaces) {
			return false
		}
	}
	return len(c) > 0
}

// sources adds the narrowest of what the match names: all that it names must hold.
func (m *match) sources(s *sources) {
	switch {
	case allPrincipals(m.principals):
		for i := range m.principals {
			id, _ := principalOf(&m.principals[i])
			s.principals[id] = struct{}{}
		}
	case len(m.accounts) > 0:
		for _, a := range m.accounts {
			s.accounts[a] = struct{}{}
		}
	default:
		for i := range m.namespaces {
			s.namespaces[m.namespaces[i].want] = struct{}{}
		}
	}
}

func allPrincipals(list []text) bool {
	for i := range list {
		if _, ok := principalOf(&list[i]); !ok {
			return false
		}
	}
	return len(list) > 0
}

func allExact(list []text) bool {
	for i := range list {
		if list[i].kind != exact {
			return false
		}
	}
	return len(list) > 0
}

// principalOf returns the one identity that an exact text matches, but for odd ones.
func principalOf(t *text) (identity.ID, bool) {
	p := strings.Split(t.want, "/")
	if t.kind != exact || len(p) != 5 || p[1] != "ns" || p[3] != "sa" {
		return identity.ID{}, false
	}
	return identity.ID{TrustDomain: p[0], Namespace: p[2], ServiceAccount: p[4]}, true
}
