package netns

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// policyOf makes a policy in "shop" with one rule for each match.
func policyOf(name string, a security.Action, s security.Scope, matches ...*security.Match) *security.Authorization {
	p := &security.Authorization{Name: name, Namespace: "shop", Scope: s, Action: a}
	for _, m := range matches {
		p.Rules = append(p.Rules, &security.Rule{Clauses: []*security.Clause{{Matches: []*security.Match{m}}}})
	}
	return p
}

// is matches a pod's identity.
func is(p *lab.Pod) *security.Match { return account(p.Name) }

func account(name string) *security.Match {
	return &security.Match{ServiceAccounts: []*security.ServiceAccountMatch{{Namespace: "shop", ServiceAccount: name}}}
}

// brokenMatches are matches with an element that cannot be understood.
func brokenMatches() map[string]*security.Match {
	later := &security.Match{Namespaces: []*security.StringMatch{exactly("nowhere")}}
	later.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	return map[string]*security.Match{
		"address of 3 bytes": {SourceIps: []*security.Address{{Address: []byte{10, 0, 0}, Length: 8}}},
		"prefix too long":    {NotSourceIps: []*security.Address{{Address: []byte{10, 0, 0, 0}, Length: 33}}},
		"unset oneof":        {Principals: []*security.StringMatch{exactly("nobody"), {}}},
		"no port":            {DestinationPorts: []uint32{70_000}},
		"a later field":      later,
	}
}

func exactly(s string) *security.StringMatch {
	return &security.StringMatch{MatchType: &security.StringMatch_Exact{Exact: s}}
}

// unparsable sends a good rule and a broken one, in policies of every action and scope: they refuse all of
// their scope, and nothing beyond.
func (f *forger) unparsable(t *testing.T) {
	nearOnly := func(_, to *lab.Pod) bool { return to != f.near }
	for name, m := range brokenMatches() {
		for action, good := range map[security.Action]*security.Match{security.Action_ALLOW: is(f.client), security.Action_DENY: account("nobody")} {
			for scope, pass := range map[security.Scope]func(_, _ *lab.Pod) bool{
				security.Scope_GLOBAL: nobody, security.Scope_NAMESPACE: nobody, security.Scope_WORKLOAD_SELECTOR: nearOnly,
			} {
				t.Run(fmt.Sprintf("%s in %s %s", name, scope, action), func(t *testing.T) {
					before := f.rejected(t)
					f.policies(t, policyOf("bad", action, scope, good, m))
					f.name(t, []*lab.Pod{f.near}, "shop/bad")
					f.settle(t)
					f.judge(t, pass)
					f.told(t, "policy_unreadable", f.near)
					f.nacked(t, "shop/bad", before)
					f.clear(t)
				})
			}
		}
	}
}

// told checks the reason why the client may not call a pod.
func (f *forger) told(t *testing.T, reason string, to *lab.Pod) {
	t.Helper()
	e, err := f.explain(ctx(t), to.Node.Name, f.client.FullName(), to.FullName(), portBanner)
	must(t, err)
	if e.Allowed || e.Reason != reason || e.Policy != "shop/bad" {
		t.Errorf("explanation %+v, want %s by shop/bad", e, reason)
	}
}

// rejected counts the policies that the proxies refused.
func (f *forger) rejected(t *testing.T) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, node := range []string{"node-a", "node-b"} {
		n, err := f.metric(ctx(t), node, "ambit_xds_rejected_resources_total", xds.AuthorizationType)
		must(t, err)
		out[node] = n
	}
	return out
}

// nacked checks that both proxies have refused a policy, said so, and counted it once more than before.
func (f *forger) nacked(t *testing.T, name string, before map[string]float64) {
	t.Helper()
	if by := f.refusedBy(name); !slices.Equal(by, []string{"node-a", "node-b"}) {
		t.Errorf("policy %s was refused by %q", name, by)
	}
	for node, n := range f.rejected(t) {
		if n != before[node]+1 {
			t.Errorf("%s counts %v refused policies, %v before", node, n, before[node])
		}
	}
}

// besideGood: what allows nothing takes nothing from what allows something.
func (f *forger) besideGood(t *testing.T) {
	for name, m := range brokenMatches() {
		t.Run(name, func(t *testing.T) {
			f.policies(t, policyOf("bad", security.Action_ALLOW, security.Scope_NAMESPACE, m),
				policyOf("good", security.Action_ALLOW, security.Scope_NAMESPACE, is(f.client)))
			f.settle(t)
			f.judge(t, f.onlyClient)
			f.clear(t)
		})
	}
}

// undecodableBodies are messages that are no policy named shop/bad.
func undecodableBodies(t *testing.T) map[string]*anypb.Any {
	t.Helper()
	other, err := anypb.New(policyOf("other", security.Action_ALLOW, security.Scope_NAMESPACE, account("client")))
	must(t, err)
	return map[string]*anypb.Any{
		"no message":   {TypeUrl: xds.AuthorizationType, Value: []byte{0xff}},
		"another type": {TypeUrl: xds.AddressType, Value: other.GetValue()},
		"another name": other,
		"no body":      nil,
	}
}

// undecodable: what the policy would have refused is not known, so its whole namespace is.
func (f *forger) undecodable(t *testing.T) {
	for name, body := range undecodableBodies(t) {
		t.Run(name, func(t *testing.T) {
			before := f.rejected(t)
			f.raw("shop/bad", body, name)
			f.settle(t)
			f.judge(t, nobody)
			f.told(t, "policy_unreadable", f.near)
			f.told(t, "policy_unreadable", f.far)
			f.nacked(t, "shop/bad", before)
			f.clear(t)
		})
	}
}

// earlierStays replaces a good version by bad ones, and these by another good one.
func (f *forger) earlierStays(t *testing.T) {
	bad := undecodableBodies(t)
	for name, m := range brokenMatches() {
		body, err := anypb.New(policyOf("bad", security.Action_ALLOW, security.Scope_NAMESPACE, account("nobody"), m))
		must(t, err)
		bad[name] = body
	}
	f.policies(t, policyOf("bad", security.Action_ALLOW, security.Scope_NAMESPACE, is(f.client)))
	f.settle(t)
	f.judge(t, f.onlyClient)
	held := hold(t, f.client, f.servers()...)
	for name, body := range bad {
		t.Run(name, func(t *testing.T) {
			before := f.rejected(t)
			f.raw("shop/bad", body, name)
			f.settle(t)
			f.nacked(t, "shop/bad", before)
			f.judge(t, f.onlyClient)
		})
	}
	pingAll(t, held)
	f.policies(t, policyOf("bad", security.Action_DENY, security.Scope_NAMESPACE, is(f.client)))
	f.settle(t)
	f.judge(t, func(from, _ *lab.Pod) bool { return from != f.client })
	for _, c := range held {
		mustEnd(t, c)
	}
	if by := f.refusedBy("shop/bad"); len(by) > 0 {
		t.Errorf("a good version is refused by %q", by)
	}
}

// emptyMatch: a match that says nothing never opens anything. A rule that says nothing is for all.
func (f *forger) emptyMatch(t *testing.T) {
	const allow, deny = security.Action_ALLOW, security.Action_DENY
	empty := &security.Match{}
	for _, c := range []struct {
		name   string
		action security.Action
		rule   *security.Rule
		pass   func(_, _ *lab.Pod) bool
		reason string
	}{
		{"ALLOW", allow, oneClause(empty), nobody, "policy_no_allow"},
		{"DENY", deny, oneClause(empty), nobody, "policy_deny"},
		{"ALLOW or another", allow, oneClause(empty, is(f.client)), f.onlyClient, ""},
		{"DENY or another", deny, oneClause(empty, account("nobody")), nobody, "policy_deny"},
		{"ALLOW and another", allow, &security.Rule{Clauses: []*security.Clause{{Matches: []*security.Match{empty}}, {Matches: []*security.Match{is(f.client)}}}}, nobody, "policy_no_allow"},
		{"ALLOW, no clause", allow, &security.Rule{}, everybody, ""},
		{"DENY, no clause", deny, &security.Rule{}, nobody, "policy_deny"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policyOf("bad", c.action, security.Scope_WORKLOAD_SELECTOR)
			p.Rules = []*security.Rule{c.rule}
			f.policies(t, p)
			f.name(t, f.servers(), "shop/bad")
			f.settle(t)
			f.judge(t, c.pass)
			if c.reason != "" {
				f.told(t, c.reason, f.near)
				f.told(t, c.reason, f.far)
			}
			f.clear(t)
		})
	}
}

func oneClause(matches ...*security.Match) *security.Rule {
	return &security.Rule{Clauses: []*security.Clause{{Matches: matches}}}
}
