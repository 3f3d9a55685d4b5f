package admin

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// Policy is one of the mesh's, as it came.
type Policy struct {
	Name       string      `json:"name"`
	Namespace  string      `json:"namespace"`
	Scope      string      `json:"scope"`
	Action     string      `json:"action"`
	Rules      [][][]Match `json:"rules"` // any of (all of (any of))
	DryRun     bool        `json:"dryRun,omitempty"`
	Kind       string      `json:"kind,omitempty"`
	Refused    []string    `json:"refused,omitempty"`
	Unreadable string      `json:"unreadable,omitempty"` // why it cannot be understood
}

// Match is one condition.
type Match struct {
	Namespaces          []Text    `json:"namespaces,omitempty"`
	NotNamespaces       []Text    `json:"notNamespaces,omitempty"`
	Principals          []Text    `json:"principals,omitempty"`
	NotPrincipals       []Text    `json:"notPrincipals,omitempty"`
	SourceIPs           []string  `json:"sourceIps,omitempty"`
	NotSourceIPs        []string  `json:"notSourceIps,omitempty"`
	DestinationIPs      []string  `json:"destinationIps,omitempty"`
	NotDestinationIPs   []string  `json:"notDestinationIps,omitempty"`
	DestinationPorts    []uint32  `json:"destinationPorts,omitempty"`
	NotDestinationPorts []uint32  `json:"notDestinationPorts,omitempty"`
	ServiceAccounts     []Account `json:"serviceAccounts,omitempty"`
	NotServiceAccounts  []Account `json:"notServiceAccounts,omitempty"`
}

// Text is one string condition; exactly one field is set.
type Text struct {
	Exact    string    `json:"Exact,omitempty"`
	Prefix   string    `json:"Prefix,omitempty"`
	Suffix   string    `json:"Suffix,omitempty"`
	Presence *struct{} `json:"Presence,omitempty"`
}

// Account is a service account.
type Account struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
}

func policies(s *mesh.Snapshot) []Policy {
	out := []Policy{}
	for p := range s.Policies() {
		out = append(out, policy(p, s.PolicyMessage(p.Key())))
	}
	slices.SortFunc(out, func(a, b Policy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func policy(p *authz.Policy, m *security.Authorization) Policy {
	out := Policy{
		Name: p.Name(), Namespace: p.Namespace(), Scope: scope(m.GetScope()), Action: action(m.GetAction()),
		Rules: [][][]Match{}, DryRun: p.DryRun(), Kind: p.Kind(), Refused: p.Refused(), Unreadable: p.Unreadable(),
	}
	for _, r := range m.GetRules() {
		clauses := [][]Match{}
		for _, c := range r.GetClauses() {
			matches := []Match{}
			for _, x := range c.GetMatches() {
				matches = append(matches, match(x))
			}
			clauses = append(clauses, matches)
		}
		out.Rules = append(out.Rules, clauses)
	}
	return out
}

func scope(s security.Scope) string {
	switch s {
	case security.Scope_NAMESPACE:
		return "Namespace"
	case security.Scope_WORKLOAD_SELECTOR:
		return "WorkloadSelector"
	}
	return "Global"
}

func action(a security.Action) string {
	if a == security.Action_DENY {
		return "Deny"
	}
	return "Allow"
}

func match(m *security.Match) Match {
	return Match{
		Namespaces: words(m.GetNamespaces()), NotNamespaces: words(m.GetNotNamespaces()),
		Principals: words(m.GetPrincipals()), NotPrincipals: words(m.GetNotPrincipals()),
		SourceIPs: blocks(m.GetSourceIps()), NotSourceIPs: blocks(m.GetNotSourceIps()),
		DestinationIPs: blocks(m.GetDestinationIps()), NotDestinationIPs: blocks(m.GetNotDestinationIps()),
		DestinationPorts: m.GetDestinationPorts(), NotDestinationPorts: m.GetNotDestinationPorts(),
		ServiceAccounts: accounts(m.GetServiceAccounts()), NotServiceAccounts: accounts(m.GetNotServiceAccounts()),
	}
}

func words(list []*security.StringMatch) (out []Text) {
	for _, m := range list {
		t := Text{Exact: m.GetExact(), Prefix: m.GetPrefix(), Suffix: m.GetSuffix()}
		if m.GetPresence() != nil {
			t.Presence = &struct{}{}
		}
		out = append(out, t)
	}
	return out
}

func blocks(list []*security.Address) (out []string) {
	for _, a := range list {
		addr, ok := netip.AddrFromSlice(a.GetAddress())
		if !ok {
			out = append(out, "invalid")
			continue
		}
		out = append(out, addr.String()+"/"+strconv.Itoa(int(a.GetLength())))
	}
	return out
}

func accounts(list []*security.ServiceAccountMatch) (out []Account) {
	for _, a := range list {
		out = append(out, Account{a.GetNamespace(), a.GetServiceAccount()})
	}
	return out
}
