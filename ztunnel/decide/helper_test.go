package decide

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// world is a mesh and a decider on node "here", with a clock that the test moves.
type world struct {
	t     testing.TB
	store *mesh.Store
	d     *Decider
	bal   *balance.Balancer
	now   time.Time
	local map[netip.Addr]*engine.Pod
	id    uint64
}

// newWorld returns a synced, empty world; change may set Options.
func newWorld(t testing.TB, change func(*Options)) *world {
	w := emptyWorld(t, change)
	w.apply(mesh.Update{AddressesComplete: true, PoliciesComplete: true})
	return w
}

func emptyWorld(t testing.TB, change func(*Options)) *world {
	w := &world{t: t, store: mesh.NewStore(mesh.Options{}), now: time.Unix(1_000_000, 0), local: map[netip.Addr]*engine.Pod{}}
	w.bal = balance.New(balance.Options{Now: w.clock})
	o := Options{Store: w.store, Balancer: w.bal, Node: "here", Now: w.clock,
		LocalPods: func(a netip.Addr) *engine.Pod { return w.local[a] }}
	if change != nil {
		change(&o)
	}
	w.d = New(o)
	return w
}

func (w *world) clock() time.Time { return w.now }

func (w *world) apply(u mesh.Update) {
	w.t.Helper()
	if errs := w.store.Apply(u); len(errs) > 0 {
		w.t.Fatal(errs)
	}
}

func (w *world) addresses(list ...*workload.Address) {
	w.t.Helper()
	w.apply(mesh.Update{UpsertAddress: list})
}

func (w *world) policies(list ...*security.Authorization) {
	w.t.Helper()
	w.apply(mesh.Update{UpsertPolicy: list})
}

// serve enrols the pod of the record "shop/name" on this node.
func (w *world) serve(name string) *engine.Pod {
	w.t.Helper()
	rec := w.store.Snapshot().Workload(uid(name))
	if rec == nil {
		w.t.Fatalf("no workload %s", name)
	}
	p := &engine.Pod{UID: "uid-" + name, Workload: rec.UID, Namespace: rec.Namespace, Name: rec.Name, Addrs: rec.Addrs, Identity: rec.Identity}
	for _, a := range p.Addrs {
		w.local[a] = p
	}
	return p
}

func (w *world) record(kind engine.Kind, p *engine.Pod, from, to string) *engine.Record {
	w.id++
	return &engine.Record{ID: w.id, Kind: kind, Pod: p, Source: netip.MustParseAddrPort(from), Dest: netip.MustParseAddrPort(to), Accepted: w.now, Bytes: &telemetry.Bytes{}}
}

func (w *world) outbound(p *engine.Pod, to string) *engine.Record {
	return w.record(engine.Outbound, p, netip.AddrPortFrom(p.Addrs[0], 40000).String(), to)
}

func (w *world) tunnel(p *engine.Pod, peer, from, authority string) *engine.Record {
	r := w.record(engine.HBONE, p, from+":40000", netip.AddrPortFrom(p.Addrs[0], 15008).String())
	r.Peer, r.Request = id(peer), &hbone.Request{Authority: authority}
	return r
}

// dialed plays the engine: the plan's dial failed.
func (w *world) dialed(r *engine.Record, p engine.Plan, err *engine.DialError) engine.Plan {
	r.Attempts++
	r.Attempt = engine.Attempt{Dial: p.Dial}
	return w.d.Dialed(r, err)
}

// establish plays the engine: the plan's dial succeeded.
func (w *world) establish(r *engine.Record, p engine.Plan) {
	r.Attempts++
	r.Attempt = engine.Attempt{Dial: p.Dial, Connected: time.Millisecond}
	w.d.Established(r)
}

func id(account string) identity.ID {
	return identity.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: account}
}

func uid(name string) string { return "Kubernetes//Pod/shop/" + name }

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// pod is a workload shop/name with its own account.
func pod(name, node string, change func(*workload.Workload), addrs ...string) *workload.Address {
	w := &workload.Workload{
		Uid: uid(name), Name: name, Namespace: "shop", ServiceAccount: name, Node: node, WorkloadName: name,
		CanonicalName: name, CanonicalRevision: "v1", TunnelProtocol: workload.TunnelProtocol_HBONE, WorkloadType: workload.WorkloadType_POD,
	}
	for _, a := range addrs {
		w.Addresses = append(w.Addresses, ip(a))
	}
	if change != nil {
		change(w)
	}
	return &workload.Address{Type: &workload.Address_Workload{Workload: w}}
}

// in makes the workload an endpoint: port 80 is 8080 there.
func in(keys ...string) func(*workload.Workload) {
	return func(w *workload.Workload) {
		w.Services = map[string]*workload.PortList{}
		for _, k := range keys {
			w.Services[k] = &workload.PortList{Ports: []*workload.Port{{ServicePort: 80, TargetPort: 8080}}}
		}
	}
}

func and(fs ...func(*workload.Workload)) func(*workload.Workload) {
	return func(w *workload.Workload) {
		for _, f := range fs {
			f(w)
		}
	}
}

func plainTCP(w *workload.Workload) { w.TunnelProtocol = workload.TunnelProtocol_NONE }

func named(policies ...string) func(*workload.Workload) {
	return func(w *workload.Workload) { w.AuthorizationPolicies = policies }
}

// svc is the service "shop/<name>.shop" with port 80 -> 8080.
func svc(name string, change func(*workload.Service), vips ...string) *workload.Address {
	s := &workload.Service{Name: name, Namespace: "shop", Hostname: name + ".shop", Ports: []*workload.Port{{ServicePort: 80, TargetPort: 8080}}}
	for _, v := range vips {
		s.Addresses = append(s.Addresses, &workload.NetworkAddress{Address: ip(v)})
	}
	if change != nil {
		change(s)
	}
	return &workload.Address{Type: &workload.Address_Service{Service: s}}
}

func policy(name string, scope security.Scope, action security.Action, matches ...*security.Match) *security.Authorization {
	a := &security.Authorization{Name: name, Namespace: "shop", Scope: scope, Action: action}
	for _, m := range matches {
		a.Rules = append(a.Rules, &security.Rule{Clauses: []*security.Clause{{Matches: []*security.Match{m}}}})
	}
	return a
}

func principal(account string) *security.Match {
	return &security.Match{Principals: []*security.StringMatch{{MatchType: &security.StringMatch_Exact{Exact: id(account).Principal()}}}}
}

// strict is what a controller makes of a STRICT PeerAuthentication.
func strict() *security.Authorization {
	return policy("strict", security.Scope_GLOBAL, security.Action_DENY, &security.Match{
		NotPrincipals: []*security.StringMatch{{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}}})
}

func wantPlan(t *testing.T, p engine.Plan, action engine.Action, why string) {
	t.Helper()
	if p.Action != action || string(p.Reason) != why {
		t.Errorf("plan %s, want %s", show(p), fmt.Sprintf("action %d %q", action, why))
	}
}

func show(p engine.Plan) string {
	return fmt.Sprintf("action %d reason %q status %d to %s pod %v source %s: %s", p.Action, p.Reason, p.Status, p.Dial.To, p.Dial.Pod != nil, p.Dial.Source, p.Detail)
}
