package decide

import (
	"context"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// live are established connections into the pod, by entrance, from friend (or its namesake on this
// node) and in plaintext, and one that goes elsewhere.
func live(t *testing.T, w *world, p *engine.Pod) map[string]*engine.Record {
	w.addresses(pod("client", "here", nil, "10.0.0.1"))
	client := w.serve("client")
	records := map[string]*engine.Record{
		"plaintext": w.record(engine.Inbound, p, "192.0.2.1:40000", "10.0.0.9:8080"),
		"tunnel":    w.tunnel(p, "friend", "10.0.1.1", "10.0.0.9:8080"),
		"hand-over": w.outbound(client, "10.0.0.9:8080"),
		"elsewhere": w.outbound(client, "10.0.1.2:8080"),
	}
	for name, r := range records {
		ask := w.d.Accepted
		if r.Kind == engine.HBONE {
			ask = w.d.Connect
		}
		plan := ask(r)
		if plan.Action != engine.Deliver && plan.Action != engine.Tunnel {
			t.Fatalf("%s: %s", name, show(plan))
		}
		w.establish(r, plan)
		if why, ok := w.d.Rejudge(r); !ok {
			t.Fatalf("%s ended at once: %s", name, why)
		}
	}
	return records
}

func TestRejudge(t *testing.T) {
	allow := func(name string) *security.Authorization {
		return policy("friends", security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW, principal(name))
	}
	relabelled := pod("server", "here", named("shop/friends"), "10.0.0.9")
	for _, c := range []struct {
		name   string
		update mesh.Update
		ended  map[string]reason.Reason // the others live
	}{
		{"strict", mesh.Update{UpsertPolicy: []*security.Authorization{strict()}},
			map[string]reason.Reason{"plaintext": reason.PolicyChanged}},
		{"labels select a policy", mesh.Update{UpsertPolicy: []*security.Authorization{allow("friend")}, UpsertAddress: []*workload.Address{relabelled}},
			map[string]reason.Reason{"plaintext": reason.PolicyChanged, "hand-over": reason.PolicyChanged}},
		{"another source", mesh.Update{UpsertPolicy: []*security.Authorization{allow("client")}, UpsertAddress: []*workload.Address{relabelled}},
			map[string]reason.Reason{"plaintext": reason.PolicyChanged, "tunnel": reason.PolicyChanged}},
		{"policy that does not select it", mesh.Update{UpsertPolicy: []*security.Authorization{allow("nobody")}}, nil},
		{"record gone", mesh.Update{RemoveAddress: []string{uid("server")}},
			map[string]reason.Reason{"plaintext": reason.WorkloadUnknown, "tunnel": reason.WorkloadUnknown, "hand-over": reason.WorkloadUnknown}},
		{"address taken", mesh.Update{UpsertAddress: []*workload.Address{pod("thief", "there", nil, "10.0.0.9")}},
			map[string]reason.Reason{"plaintext": reason.WorkloadUnknown, "tunnel": reason.WorkloadUnknown, "hand-over": reason.WorkloadUnknown}},
		{"endpoint elsewhere gone", mesh.Update{RemoveAddress: []string{uid("foe")}}, nil},
		{"un-enrolled", mesh.Update{UpsertAddress: []*workload.Address{pod("server", "here", plainTCP, "10.0.0.9")}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, p := server(t)
			records := live(t, w, p)
			w.apply(c.update)
			for name, r := range records {
				why, ok := w.d.Rejudge(r)
				if want, ends := c.ended[name]; ok == ends || why != want {
					t.Errorf("%s: %q %v, want %q", name, why, ok, want)
				}
				if !ok && of(r).told().ended == "" {
					t.Errorf("%s: no word of why", name)
				}
			}
		})
	}
}

func TestRejudgeHoldsUnknownPolicy(t *testing.T) {
	w, p := server(t)
	records := live(t, w, p)
	w.addresses(pod("server", "here", named("shop/later"), "10.0.0.9"))
	r := records["tunnel"]
	judge := func(after time.Duration, want reason.Reason) {
		t.Helper()
		w.now = w.now.Add(after)
		if why, ok := w.d.Rejudge(r); why != want || ok != (want == reason.None) {
			t.Errorf("%q %v, want %q", why, ok, want)
		}
	}
	judge(0, reason.None)
	judge(4*time.Second, reason.None)
	w.policies(policy("later", security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW, principal("friend")))
	judge(0, reason.None)
	w.apply(mesh.Update{RemovePolicy: []string{"shop/later"}})
	judge(0, reason.None) // a new wait
	judge(4*time.Second, reason.None)
	judge(time.Second, reason.PolicyChanged)
}

func TestWatcher(t *testing.T) {
	w, p := server(t)
	w.addresses(pod("client", "here", nil, "10.0.0.1"))
	asked := make(chan struct{}, 100)
	watcher := w.d.NewWatcher(func() { asked <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); watcher.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	expect := func(what string) {
		t.Helper()
		select {
		case <-asked:
		case <-time.After(time.Minute):
			t.Fatalf("%s: connections were not judged again", what)
		}
	}
	w.policies(strict())
	expect("policy")
	w.addresses(pod("server", "here", named("shop/later"), "10.0.0.9"))
	expect("labels")
	w.addresses(pod("elsewhere", "there", nil, "10.0.0.9"))
	expect("address taken")
	w.apply(mesh.Update{RemoveAddress: []string{uid("client")}})
	expect("removed")
	w.apply(mesh.Update{RemoveAddress: []string{uid("elsewhere")}})
	expect("address back")

	// What does not matter here wakes nobody: the next call is the one asked for by a held connection.
	w.addresses(pod("friend", "there", nil, "10.0.1.1"), svc("new", nil, "10.1.0.7"))
	r := w.tunnel(p, "friend", "10.0.1.1", "10.0.0.9:8080")
	of(r).more().unknown = w.now.Add(-5*time.Second + time.Millisecond)
	if len(asked) != 0 {
		t.Error("judged again without need")
	}
	r.Target = r.Dest
	if !w.d.hold(of(r)) {
		t.Fatal("not held")
	}
	expect("held connection")
}

// The later judgement sees the address that the first one saw, not what the application bound.
func TestRejudgeHandOverSource(t *testing.T) {
	w, _ := server(t)
	w.addresses(pod("client", "here", nil, "10.0.0.1"))
	client := w.serve("client")
	r := w.record(engine.Outbound, client, "10.0.7.7:40000", "10.0.0.9:8080")
	w.establish(r, w.d.Accepted(r))
	w.policies(policy("net", security.Scope_NAMESPACE, security.Action_ALLOW,
		&security.Match{SourceIps: []*security.Address{{Address: ip("10.0.7.7"), Length: 32}}}))
	if why, ok := w.d.Rejudge(r); ok || why != reason.PolicyChanged {
		t.Errorf("%q %v", why, ok)
	}
}
