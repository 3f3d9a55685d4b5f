package decide

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// deed is what really happened to a connection, seen through to the far end.
type deed struct {
	Path, Endpoint, Policy, Reason string
	Allowed                        bool
}

// do makes the connection with the proxies of both ends. there is the other node's.
func do(here, there *world, p *engine.Pod, dest string) deed {
	r := here.outbound(p, dest)
	plan := here.d.Accepted(r)
	defer here.d.Closed(r)
	out := deed{Path: of(r).path.String(), Policy: r.Policy, Reason: string(plan.Reason)}
	if r.To != nil {
		out.Endpoint = title(r.To) + " " + r.Target.String()
	}
	switch plan.Action {
	case engine.Plain, engine.Deliver:
		out.Allowed = true
	case engine.Tunnel:
		far := there.local[r.Target.Addr()]
		if far == nil { // of another proxy on this node
			far = podFrom(r.To, netip.Addr{})
		}
		t := there.record(engine.HBONE, far, r.Source.String(), plan.Dial.To.String())
		t.Peer, t.Request = p.Identity, &hbone.Request{Authority: plan.Dial.Request.Authority}
		answer := there.d.Connect(t)
		out.Allowed, out.Policy, out.Reason = answer.Action == engine.Deliver, t.Policy, string(answer.Reason)
		there.d.Closed(t)
	}
	return out
}

// twoNodes are proxies of both nodes over one random mesh.
func twoNodes(t *testing.T, rnd *rand.Rand) (here, there *world) {
	here = newWorld(t, nil)
	draw := rnd.Uint64()
	bal := balance.New(balance.Options{Now: here.clock, Rand: func() uint64 { return draw }})
	here.d = New(Options{Store: here.store, Balancer: bal, Node: "here", Now: here.clock,
		SameNode:  []SameNode{HandOver, MTLS}[rnd.IntN(2)],
		LocalPods: func(a netip.Addr) *engine.Pod { return here.local[a] }})
	there = &world{t: t, store: here.store, now: here.now, local: map[netip.Addr]*engine.Pod{}}
	there.d = New(Options{Store: here.store, Balancer: bal, Node: "there", Now: here.clock})
	u := randomMesh(rnd)
	here.store.Apply(u) // some policies are unreadable
	for _, a := range u.UpsertAddress {
		w := a.GetWorkload()
		switch {
		case w == nil || w.TunnelProtocol != workload.TunnelProtocol_HBONE:
		case w.Node == "there":
			there.serve(w.Name)
		case w.Name == "p0" || rnd.IntN(8) > 0: // else not served here, though of this node
			here.serve(w.Name)
		}
	}
	return here, there
}

const population = 8

func randomMesh(rnd *rand.Rand) (u mesh.Update) {
	services := []string{"shop/s0.shop", "shop/s1.shop", "shop/s2.shop"}
	names := []string{"shop/w0", "shop/w1"}
	for i := range population {
		node := []string{"here", "there"}[min(i, rnd.IntN(2))]
		u.UpsertAddress = append(u.UpsertAddress, pod(fmt.Sprint("p", i), node, func(w *workload.Workload) {
			in(services[rnd.IntN(3)])(w)
			if i > 0 && rnd.IntN(4) == 0 {
				plainTCP(w)
			}
			if rnd.IntN(6) == 0 {
				w.Status = workload.WorkloadStatus_UNHEALTHY
			}
			if rnd.IntN(3) == 0 {
				w.AuthorizationPolicies = names[:1+rnd.IntN(2)]
			}
			if rnd.IntN(10) == 0 {
				w.Waypoint = &workload.GatewayAddress{}
			}
		}, fmt.Sprint("10.0.0.", i+1)))
	}
	for i := range 3 {
		u.UpsertAddress = append(u.UpsertAddress, svc(fmt.Sprint("s", i), func(s *workload.Service) {
			if rnd.IntN(8) == 0 {
				s.Waypoint = &workload.GatewayAddress{}
			}
		}, fmt.Sprint("10.1.0.", i)))
	}
	for i := range rnd.IntN(4) {
		u.UpsertPolicy = append(u.UpsertPolicy, randomPolicy(rnd, i))
	}
	return u
}

func randomPolicy(rnd *rand.Rand, i int) *security.Authorization {
	m := []*security.Match{
		principal(fmt.Sprint("p", rnd.IntN(population))),
		{DestinationPorts: []uint32{8080}},
		{SourceIps: []*security.Address{{Address: ip(fmt.Sprint("10.0.0.", rnd.IntN(population)+1)), Length: 31}}},
		{Principals: []*security.StringMatch{{}}}, // cannot be understood
		{NotNamespaces: []*security.StringMatch{{MatchType: &security.StringMatch_Exact{Exact: "other"}}}},
	}[rnd.IntN(5)]
	p := policy(fmt.Sprint("w", i), security.Scope(rnd.IntN(3)), security.Action(rnd.IntN(2)), m)
	p.DryRun = rnd.IntN(5) == 0
	return p
}

// What explain says is what happens.
func TestExplainEqualsDecision(t *testing.T) {
	tally := map[string]int{}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		here, there := twoNodes(t, rnd)
		client := here.local[netip.MustParseAddr("10.0.0.1")]
		for _, dest := range []string{"10.1.0.0", "10.1.0.1", "10.1.0.2", "10.0.0.2", "10.0.0.3", "10.0.0.4", "192.0.2.1", "127.0.0.1"} {
			for _, port := range []uint16{80, 8080, 15008} {
				want := do(here, there, client, fmt.Sprint(dest, ":", port))
				x, err := here.d.Explain("shop/p0", dest, port)
				if err != nil {
					t.Fatal(err)
				}
				got := deed{x.Path, x.Endpoint, x.Policy, x.Reason, x.Allowed}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("seed %d, %s:%d: happened (-), explained (+):\n%s\n%s", seed, dest, port, diff, strings.Join(x.Steps, "\n"))
				}
				tally[fmt.Sprint(got.Path, " ", got.Allowed, " ", got.Reason)]++
			}
		}
	}
	for _, seen := range []string{"tunnel true ", "same_node true ", "plain true ", "passthrough true ", "tunnel false policy_no_allow",
		"same_node false policy_deny", "same_node false policy_unknown", "tunnel false policy_unreadable", " false needs_waypoint", " false no_healthy_upstream"} {
		if tally[seen] == 0 {
			t.Errorf("%q did not happen: %v", seen, tally)
		}
	}
}

func TestExplainPlaintext(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		here, there := twoNodes(t, rnd)
		for i := 1; i < population; i++ {
			addr := netip.MustParseAddr(fmt.Sprint("10.0.0.", i+1))
			w := here
			if w.local[addr] == nil {
				w = there
			}
			p := w.local[addr]
			if p == nil {
				continue
			}
			r := w.record(engine.Inbound, p, "192.0.2.9:40000", netip.AddrPortFrom(addr, 8080).String())
			plan := w.d.Accepted(r)
			x, err := here.d.Explain("192.0.2.9", addr.String(), 8080)
			if err != nil {
				t.Fatal(err)
			}
			if x.Allowed != (plan.Action == engine.Deliver) || x.Reason != string(plan.Reason) || x.Policy != r.Policy {
				t.Fatalf("seed %d: %s by %q, explained %+v", seed, show(plan), r.Policy, x)
			}
		}
	}
}
