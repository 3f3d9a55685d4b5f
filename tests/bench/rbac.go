package main

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

const (
	rbacName     = "ztunnel layout: rbac"
	rbacPolicies = 10_000
	rbacRules    = 10
)

// rbac judges one connection by 10,000 DENY policies of 10 rules each, none of which matches: the shape
// that the benchmarks of Istio's ztunnel have. The chain is the library alone.
func (r *runner) rbac() error {
	policies, err := rbacSet()
	if err != nil {
		return err
	}
	flow := &authz.Flow{ // of plaintext: there is no identity
		SourceIP: netip.MustParseAddr("127.0.0.1"), Dest: netip.MustParseAddrPort("127.0.0.2:12345")}
	if !authz.Judge(flow, policies, nil).Allowed {
		return errors.New("rbac: a policy that does not match refused")
	}
	rounds := min(r.o.rounds, 3)
	if r.o.quick {
		rounds = 1
	}
	for round := range rounds {
		b := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				authz.Judge(flow, policies, nil)
			}
		})
		us := float64(b.T.Nanoseconds()) / float64(b.N) / 1e3
		r.add(round, report.Sample{Workload: rbacName, Chain: "judge", Metric: "each", Unit: "us", Value: us})
	}
	return nil
}

func rbacSet() ([]*authz.Policy, error) {
	text := []*security.StringMatch{
		{MatchType: &security.StringMatch_Prefix{Prefix: "some-prefix-4711"}},
		{MatchType: &security.StringMatch_Suffix{Suffix: "some-suffix-4711"}},
		{MatchType: &security.StringMatch_Exact{Exact: "some-text-4711"}},
	}
	net := []*security.Address{{Address: []byte{198, 51, 100, 0}, Length: 24}}
	match := &security.Match{Namespaces: text, Principals: text, SourceIps: net, DestinationIps: net, DestinationPorts: []uint32{1}}
	var rules []*security.Rule
	for range rbacRules {
		rules = append(rules, &security.Rule{Clauses: []*security.Clause{{Matches: []*security.Match{match}}}})
	}
	var out []*authz.Policy
	for i := range rbacPolicies {
		p, err := authz.FromProto(&security.Authorization{Name: fmt.Sprint("policy-", i), Namespace: "default",
			Scope: security.Scope_GLOBAL, Action: security.Action_DENY, Rules: rules})
		if err != nil {
			return nil, fmt.Errorf("compile policy: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}
