package decide

import (
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// server is a pod of this node, called by friend and foe.
func server(t testing.TB) (*world, *engine.Pod) {
	w := newWorld(t, nil)
	w.addresses(
		pod("server", "here", in("shop/web.shop"), "10.0.0.9", "fd00::9"),
		pod("friend", "there", nil, "10.0.1.1"),
		pod("foe", "there", nil, "10.0.1.2"),
		svc("web", nil, vip), svc("else", nil, "10.1.0.2"),
	)
	return w, w.serve("server")
}

func TestConnectAuthority(t *testing.T) {
	w, p := server(t)
	for _, c := range []struct {
		authority string
		action    engine.Action
		why       string
		status    int
		target    string
	}{
		{"10.0.0.9:8080", engine.Deliver, "", 0, "10.0.0.9:8080"},
		{"[fd00::9]:8080", engine.Deliver, "", 0, "[fd00::9]:8080"},
		{"[::ffff:10.0.0.9]:8080", engine.Deliver, "", 0, "10.0.0.9:8080"},
		{"web.shop:80", engine.Deliver, "", 0, "10.0.0.9:8080"},
		{"WEB.shop:80", engine.Deliver, "", 0, "10.0.0.9:8080"},
		{"web.shop:81", engine.Refuse, "authority_mismatch", 400, "invalid AddrPort"},
		{"else.shop:80", engine.Refuse, "authority_mismatch", 400, "invalid AddrPort"},
		{"10.0.0.8:8080", engine.Refuse, "authority_mismatch", 400, "10.0.0.8:8080"},
		{vip + ":80", engine.Refuse, "authority_mismatch", 400, vip + ":80"},
		{"127.0.0.1:8080", engine.Refuse, "authority_mismatch", 400, "127.0.0.1:8080"},
		{"10.0.0.9:15001", engine.Refuse, "reserved_port", 400, "10.0.0.9:15001"},
		{"10.0.0.9:15006", engine.Refuse, "reserved_port", 400, "10.0.0.9:15006"},
		{"10.0.0.9:15008", engine.Refuse, "reserved_port", 400, "10.0.0.9:15008"},
		{"10.0.0.9", engine.Refuse, "bad_request", 400, "invalid AddrPort"},
		{"", engine.Refuse, "bad_request", 400, "invalid AddrPort"},
	} {
		r := w.tunnel(p, "friend", "10.0.1.1", c.authority)
		plan := w.d.Connect(r)
		if plan.Action != c.action || string(plan.Reason) != c.why || plan.Action == engine.Refuse && plan.Status != c.status {
			t.Errorf("%q: %s, want action %d %q status %d", c.authority, show(plan), c.action, c.why, c.status)
		}
		if r.Target.String() != c.target {
			t.Errorf("%q: target %s, want %s", c.authority, r.Target, c.target)
		}
		if plan.Action == engine.Deliver && (plan.Dial.To != r.Target || plan.Dial.Pod != p || plan.Dial.Source != r.Source.Addr()) {
			t.Errorf("%q: %s", c.authority, show(plan))
		}
	}
}

func TestConnectRecord(t *testing.T) {
	w, p := server(t)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	r := w.tunnel(p, "friend", "10.0.1.1", "10.0.0.9:8080")
	r.Request = &hbone.Request{Authority: "10.0.0.9:8080", Forwarded: `for="10.9.9.9:1";host=web.shop`, Traceparent: trace}
	plan := w.d.Connect(r)
	wantPlan(t, plan, engine.Deliver, "")
	if r.From == nil || r.From.Name != "friend" || r.To.Name != "server" || r.Service == nil || r.Service.Name != "web" || r.Trace != trace {
		t.Errorf("from %v to %v service %v trace %q", r.From, r.To, r.Service, r.Trace)
	}
	want := "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.pod.name=server,service.name=server,service.version=v1"
	if len(plan.Header) != 1 || plan.Header[0].Name != "baggage" || plan.Header[0].Value != want {
		t.Errorf("header %+v", plan.Header)
	}

	// Hearsay and mismatches are not taken over.
	r = w.tunnel(p, "friend", "10.0.1.2", "10.0.0.9:8080") // foe's address
	r.Request = &hbone.Request{Authority: "10.0.0.9:8080", Forwarded: `host=else.shop`, Traceparent: "nonsense"}
	w.d.Connect(r)
	if r.From != nil || r.Service != nil || r.Trace != "" {
		t.Errorf("from %v service %v trace %q", r.From, r.Service, r.Trace)
	}
}

func TestConnectPolicies(t *testing.T) {
	allow := policy("friends", security.Scope_NAMESPACE, security.Action_ALLOW, principal("friend"))
	deny := policy("no-foes", security.Scope_NAMESPACE, security.Action_DENY, principal("foe"))
	for _, c := range []struct {
		name, peer string
		policies   []*security.Authorization
		why        string
		policy     string
	}{
		{"none", "foe", nil, "", ""},
		{"allowed", "friend", []*security.Authorization{allow}, "", "shop/friends"},
		{"not allowed", "foe", []*security.Authorization{allow}, "policy_no_allow", "shop/friends"},
		{"denied", "foe", []*security.Authorization{deny}, "policy_deny", "shop/no-foes"},
		{"not denied", "friend", []*security.Authorization{deny}, "", ""},
		{"strict", "foe", []*security.Authorization{strict()}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, p := server(t)
			w.policies(c.policies...)
			r := w.tunnel(p, c.peer, "10.0.1.1", "10.0.0.9:8080")
			plan := w.d.Connect(r)
			if string(plan.Reason) != c.why || r.Policy != c.policy {
				t.Errorf("%s by %q, want %q by %q", show(plan), r.Policy, c.why, c.policy)
			}
			if c.why != "" && plan.Status != 401 {
				t.Errorf("status %d", plan.Status)
			}
		})
	}
}

func TestConnectWithoutPeer(t *testing.T) {
	w, p := server(t)
	r := w.tunnel(p, "friend", "10.0.1.1", "10.0.0.9:8080")
	r.Peer = identity.ID{}
	if plan := w.d.Connect(r); plan.Action != engine.Refuse || plan.Status != 401 {
		t.Errorf("%s", show(plan))
	}
}

func TestPlaintext(t *testing.T) {
	w, p := server(t)
	call := func(from, to string) (engine.Plan, *engine.Record) {
		r := w.record(engine.Inbound, p, from, to)
		return w.d.Accepted(r), r
	}
	plan, r := call("10.0.1.2:40000", "10.0.0.9:8080")
	wantPlan(t, plan, engine.Deliver, "")
	if plan.Dial.Source != r.Source.Addr() || r.From == nil || r.From.Name != "foe" || r.Service == nil || r.Service.Name != "web" {
		t.Errorf("%s from %v service %v", show(plan), r.From, r.Service)
	}
	plan, _ = call("192.0.2.1:40000", "10.0.0.9:15008")
	wantPlan(t, plan, engine.Refuse, "reserved_port")
	plan, _ = call("192.0.2.1:40000", "10.0.0.8:80")
	wantPlan(t, plan, engine.Refuse, "authority_mismatch")

	w.policies(strict())
	plan, r = call("10.0.1.1:40000", "10.0.0.9:8080") // a mesh pod's address is no identity
	wantPlan(t, plan, engine.Refuse, "mtls_required")
	if r.Policy != "shop/strict" {
		t.Errorf("policy %q", r.Policy)
	}
	w.apply(mesh.Update{RemovePolicy: []string{"shop/strict"}})
	w.policies(policy("friends", security.Scope_NAMESPACE, security.Action_ALLOW, principal("friend")))
	plan, _ = call("10.0.1.1:40000", "10.0.0.9:8080")
	wantPlan(t, plan, engine.Refuse, "policy_no_allow")
}

// entrances are the three ways into a pod. Each must judge alike.
func entrances(w *world, p, client *engine.Pod) map[string]func() engine.Plan {
	return map[string]func() engine.Plan{
		"plaintext": func() engine.Plan {
			return w.d.Accepted(w.record(engine.Inbound, p, "192.0.2.1:40000", "10.0.0.9:8080"))
		},
		"tunnel":    func() engine.Plan { return w.d.Connect(w.tunnel(p, "friend", "10.0.1.1", "10.0.0.9:8080")) },
		"hand-over": func() engine.Plan { return w.d.Accepted(w.outbound(client, "10.0.0.9:8080")) },
	}
}

func TestFailClosed(t *testing.T) {
	unreadable := func(a security.Action) *security.Authorization {
		return policy("garbled", security.Scope_NAMESPACE, a, &security.Match{Principals: []*security.StringMatch{{}}})
	}
	for _, c := range []struct {
		name   string
		update mesh.Update
		why    string
		waits  bool
	}{
		{"no record of the destination", mesh.Update{RemoveAddress: []string{uid("server")}}, "workload_unknown", true},
		{"record of another address", mesh.Update{UpsertAddress: []*workload.Address{pod("server", "here", nil, "10.0.0.77")}}, "workload_unknown", true},
		{"record of another identity", mesh.Update{UpsertAddress: []*workload.Address{pod("server", "here",
			func(w *workload.Workload) { w.ServiceAccount = "other" }, "10.0.0.9")}}, "workload_unknown", true},
		{"unknown policy", mesh.Update{UpsertAddress: []*workload.Address{pod("server", "here", named("shop/later"), "10.0.0.9")}}, "policy_unknown", true},
		{"unreadable ALLOW", mesh.Update{UpsertPolicy: []*security.Authorization{unreadable(security.Action_ALLOW)}}, "policy_unreadable", false},
		{"unreadable DENY", mesh.Update{UpsertPolicy: []*security.Authorization{unreadable(security.Action_DENY)}}, "policy_unreadable", false},
		{"empty ALLOW", mesh.Update{UpsertPolicy: []*security.Authorization{policy("none", security.Scope_NAMESPACE, security.Action_ALLOW)}}, "policy_no_allow", false},
	} {
		w, p := server(t)
		w.addresses(pod("client", "here", nil, "10.0.0.1"))
		client := w.serve("client")
		w.store.Apply(c.update) // an unreadable policy is an error, and stands
		for name, enter := range entrances(w, p, client) {
			if name == "hand-over" && c.why == "workload_unknown" {
				continue // see TestHandOverToStaleRecord
			}
			plan := enter()
			action := engine.Refuse
			if c.waits {
				action = engine.Wait
			}
			if plan.Action != action || string(plan.Reason) != c.why {
				t.Errorf("%s, %s: %s", c.name, name, show(plan))
			}
			if c.waits && (plan.Until == nil || plan.Deadline != w.now.Add(5*time.Second)) {
				t.Errorf("%s, %s: waits until %s", c.name, name, plan.Deadline)
			}
		}
	}
}

// The address leads to a record that is not the served pod's: then nothing is handed over.
func TestHandOverToStaleRecord(t *testing.T) {
	w, _ := server(t)
	w.addresses(pod("client", "here", nil, "10.0.0.1"))
	client := w.serve("client")
	w.addresses(pod("server", "here", func(w *workload.Workload) { w.ServiceAccount = "other" }, "10.0.0.9"))
	plan := w.d.Accepted(w.outbound(client, "10.0.0.9:8080"))
	wantPlan(t, plan, engine.Wait, "workload_unknown")
	w.addresses(pod("server2", "here", nil, "10.0.0.9")) // the address is another workload's now
	plan = w.d.Accepted(w.outbound(client, "10.0.0.9:8080"))
	wantPlan(t, plan, engine.Tunnel, "")
	if plan.Dial.Peers[0] != id("server2").String() {
		t.Errorf("peers %v", plan.Dial.Peers)
	}
}

func TestNotSynced(t *testing.T) {
	w := emptyWorld(t, nil)
	w.addresses(pod("server", "here", nil, "10.0.0.9"), pod("client", "here", nil, "10.0.0.1"))
	p, client := w.serve("server"), w.serve("client")
	for _, u := range []mesh.Update{{}, {AddressesComplete: true}} {
		w.apply(u)
		for name, enter := range entrances(w, p, client) {
			plan := enter()
			if plan.Action != engine.Wait || plan.Reason != "not_synced" || plan.Status != 503 {
				t.Errorf("%s: %s", name, show(plan))
			}
		}
	}
	plan := w.d.Connect(w.tunnel(p, "friend", "10.0.1.1", "10.0.0.9:8080"))
	w.apply(mesh.Update{PoliciesComplete: true})
	select {
	case <-plan.Until:
	default:
		t.Error("the wait goes on after the complete answer")
	}
	for name, enter := range entrances(w, p, client) {
		if plan := enter(); plan.Action != engine.Deliver {
			t.Errorf("%s: %s", name, show(plan))
		}
	}
}

func TestWaitForOwnRecord(t *testing.T) {
	w := newWorld(t, nil)
	w.addresses(pod("client", "here", nil, "10.0.0.1"))
	client := w.serve("client")
	w.apply(mesh.Update{RemoveAddress: []string{uid("client")}})
	r := w.outbound(client, "192.0.2.1:80")
	plan := w.d.Accepted(r)
	wantPlan(t, plan, engine.Wait, "workload_unknown")
	if plan.Deadline != r.Accepted.Add(5*time.Second) {
		t.Errorf("deadline %s", plan.Deadline)
	}
	w.addresses(pod("client", "here", nil, "10.0.0.1"))
	<-plan.Until
	wantPlan(t, w.d.Accepted(r), engine.Plain, "")
}

func TestUnknownPolicyArrives(t *testing.T) {
	w, p := server(t)
	w.addresses(pod("server", "here", named("shop/later"), "10.0.0.9"))
	r := w.tunnel(p, "foe", "10.0.1.2", "10.0.0.9:8080")
	plan := w.d.Connect(r)
	wantPlan(t, plan, engine.Wait, "policy_unknown")
	if plan.Status != 401 || r.Policy != "shop/later" {
		t.Errorf("%s by %q", show(plan), r.Policy)
	}
	w.policies(policy("later", security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW, principal("friend")))
	<-plan.Until
	plan = w.d.Connect(r)
	wantPlan(t, plan, engine.Refuse, "policy_no_allow")
}

// TestPodThatLeavesTheMesh: a namespace that is taken out of a STRICT mesh must not refuse its own callers
// until the last node has heard of it; tunnels are judged to the end.
func TestPodThatLeavesTheMesh(t *testing.T) {
	w, p := server(t)
	w.policies(strict(), policy("friends", security.Scope_NAMESPACE, security.Action_ALLOW, principal("friend")))
	plain := func() *engine.Record { return w.record(engine.Inbound, p, "10.0.1.2:40000", "10.0.0.9:8080") }
	wantPlan(t, w.d.Accepted(plain()), engine.Refuse, "mtls_required")
	p.Leaving.Store(true)
	r := plain()
	wantPlan(t, w.d.Accepted(r), engine.Deliver, "")
	wantPlan(t, w.d.Connect(w.tunnel(p, "foe", "10.0.1.2", "10.0.0.9:8080")), engine.Refuse, "policy_no_allow")
	p.Leaving.Store(false)
	if why, ok := w.d.Rejudge(r); ok {
		t.Errorf("taken back into the mesh, and the plaintext connection stays: %q", why)
	}
}
