package authz

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// TestSetJudgesAsJudge compares the two on random policies and sources, odd ones among them.
func TestSetJudgesAsJudge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := func(list ...string) string { return list[r.IntN(len(list))] }
	texts := func() (out []*security.StringMatch) {
		for range r.IntN(3) {
			switch r.IntN(8) {
			case 0:
				out = append(out, hasPrefix(some("td/ns/a", "a", "b")))
			case 1:
				out = append(out, hasSuffix(some("/sa/x", "b", "")))
			case 2:
				out = append(out, isPresent())
			default:
				out = append(out, isExact(some("td/ns/a/sa/x", "td/ns/a/sa/y", "td/ns/b/sa/x", "td/ns/a/b/sa/x", "a", "b", "td")))
			}
		}
		return out
	}
	match := func() *security.Match {
		m := &security.Match{}
		for _, list := range []*[]*security.StringMatch{&m.Principals, &m.NotPrincipals, &m.Namespaces, &m.NotNamespaces} {
			if r.IntN(3) == 0 {
				*list = texts()
			}
		}
		if r.IntN(4) == 0 {
			m.ServiceAccounts = sa(some("a", "b"), some("x", "y"))
		}
		if r.IntN(4) == 0 {
			m.DestinationPorts = []uint32{80}
		}
		return m
	}
	policies := func() (out []*Policy) {
		for i := range r.IntN(12) {
			a := &security.Authorization{Name: fmt.Sprint("p", i), Namespace: "shop", Action: security.Action(r.IntN(2)), DryRun: r.IntN(6) == 0}
			for range r.IntN(3) {
				rule := &security.Rule{}
				for range r.IntN(3) {
					c := &security.Clause{}
					for range r.IntN(3) {
						c.Matches = append(c.Matches, match())
					}
					rule.Clauses = append(rule.Clauses, c)
				}
				a.Rules = append(a.Rules, rule)
			}
			p, err := FromProto(a)
			if err != nil {
				t.Fatal(err)
			}
			if r.IntN(10) == 0 {
				p = Unintelligible(p.name, p.namespace, p.scope, p.action, "why")
			}
			out = append(out, p)
		}
		return out
	}
	allowed, refused := 0, 0
	for range 20_000 {
		ps, unknown := policies(), []string(nil)
		if r.IntN(10) == 0 {
			unknown = []string{"shop/unknown"}
		}
		s := NewSet(ps, unknown)
		for range 4 {
			f := &Flow{SourceIP: netip.MustParseAddr("10.0.0.1"), Dest: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(80+r.IntN(2)))}
			if r.IntN(5) > 0 {
				f.Source = identity.ID{TrustDomain: some("td", "other"), Namespace: some("a", "b", "a/b", "c"), ServiceAccount: some("x", "y", "b/sa/x")}
			}
			want, got := Judge(f, ps, unknown), s.Judge(f)
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%v: %s", f.Source, d)
			}
			if want.Allowed {
				allowed++
			} else {
				refused++
			}
		}
	}
	if allowed < 1000 || refused < 1000 {
		t.Errorf("%d allowed, %d refused: too few of either to tell", allowed, refused)
	}
}

func TestSetAllocatesNothing(t *testing.T) {
	s := NewSet(judgeSet(t), nil)
	for _, id := range []identity.ID{web, {}} {
		f := flow(id)
		if n := testing.AllocsPerRun(200, func() { s.Judge(f) }); n != 0 {
			t.Errorf("%v: %v allocations", id, n)
		}
	}
}

// BenchmarkSet judges by policies none of which is about the source: how many there are does not matter.
func BenchmarkSet(b *testing.B) {
	f := flow(web)
	for _, n := range []int{1, 100, 5000} {
		var ps []*Policy
		for i := range n {
			ps = append(ps, compiled(b, authorization(fmt.Sprint("p", i), deny,
				&security.Match{Principals: strs(isExact(fmt.Sprint("cluster.local/ns/crowd/sa/sa", i))), DestinationPorts: []uint32{8080}})))
		}
		s := NewSet(ps, nil)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !s.Judge(f).Allowed {
					b.Fatal("refused")
				}
			}
		})
	}
}
