package translate

import (
	"fmt"

	istioapi "istio.io/api/security/v1beta1"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// source is one alternative of "from". domains holds what must match besides: within a match the
// principals of both would be alternatives.
type source struct {
	match   *security.Match
	domains []*security.StringMatch
}

func (r *reader) sources(path string, in []*istioapi.Rule_From) (out []source) {
	for i, from := range in {
		out = append(out, r.source(fmt.Sprintf("%s.from[%d].source", path, i), from.GetSource()))
	}
	return out
}

func (r *reader) source(path string, s *istioapi.Source) source {
	r.notEmpty(path, s)
	m := &security.Match{
		Namespaces:         each(r, path+".namespaces", s.GetNamespaces(), textOf),
		NotNamespaces:      each(r, path+".notNamespaces", s.GetNotNamespaces(), textOf),
		Principals:         each(r, path+".principals", s.GetPrincipals(), textOf),
		NotPrincipals:      each(r, path+".notPrincipals", s.GetNotPrincipals(), textOf),
		ServiceAccounts:    each(r, path+".serviceAccounts", s.GetServiceAccounts(), r.accountOf),
		NotServiceAccounts: each(r, path+".notServiceAccounts", s.GetNotServiceAccounts(), r.accountOf),
		SourceIps:          each(r, path+".ipBlocks", s.GetIpBlocks(), blockOf),
		NotSourceIps:       each(r, path+".notIpBlocks", s.GetNotIpBlocks(), blockOf),
	}
	r.strangers(path+".principals", s.GetPrincipals())
	r.strangers(path+".notPrincipals", s.GetNotPrincipals())
	m.NotPrincipals = append(m.NotPrincipals, each(r, path+".notTrustDomains", s.GetNotTrustDomains(), domainOf)...)
	out := source{match: m, domains: each(r, path+".trustDomains", s.GetTrustDomains(), domainOf)}
	if len(m.Principals) == 0 {
		m.Principals, out.domains = out.domains, nil
	}
	r.needsL7(path, []field{
		{"requestPrincipals", s.GetRequestPrincipals()}, {"notRequestPrincipals", s.GetNotRequestPrincipals()},
		{"remoteIpBlocks", s.GetRemoteIpBlocks()}, {"notRemoteIpBlocks", s.GetNotRemoteIpBlocks()},
	})
	return out
}

// strangers warns of principals that nobody in this mesh can have.
func (r *reader) strangers(path string, values []string) {
	for i, v := range values {
		m, err := textOf(v)
		if err != nil || m.GetExact() == "" {
			continue
		}
		id, err := identity.Parse("spiffe://" + m.GetExact())
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case err != nil:
			r.warn(at, fmt.Sprintf("%q matches nobody: not <trust domain>/ns/<namespace>/sa/<service account>", v))
		case id.TrustDomain != r.opts.TrustDomain:
			r.warn(at, fmt.Sprintf("%q matches nobody: the mesh's trust domain is %q", v, r.opts.TrustDomain))
		}
	}
}

// split joins sources and the other clauses: in one rule if that can be said, else one for each source.
func (r *reader) split(sources []source, rest []*security.Clause) []*security.Rule {
	var alternatives []*security.Match
	apart := false
	for _, s := range sources {
		alternatives = append(alternatives, s.match)
		apart = apart || len(s.domains) > 0
	}
	if !apart {
		return []*security.Rule{{Clauses: r.and(rest, alternatives...)}}
	}
	var out []*security.Rule
	for _, s := range sources {
		clauses := r.and(append([]*security.Clause(nil), rest...), s.match)
		if len(s.domains) > 0 {
			clauses = r.and(clauses, &security.Match{Principals: s.domains})
		}
		out = append(out, &security.Rule{Clauses: clauses})
	}
	return out
}
