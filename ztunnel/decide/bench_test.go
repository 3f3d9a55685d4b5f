package decide

import (
	"fmt"
	"testing"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// large is a mesh of 10,000 workloads, 1,000 services and 1,000 policies, 20 of them on the server.
func large(b testing.TB) (w *world, client, server *engine.Pod) {
	b.Helper()
	counts, err := telemetry.New(telemetry.Options{})
	if err != nil {
		b.Fatal(err)
	}
	w = newWorld(b, func(o *Options) { o.Telemetry = counts })
	var u mesh.Update
	for i := range 10_000 {
		u.UpsertAddress = append(u.UpsertAddress, pod(fmt.Sprint("w", i), fmt.Sprint("node", i%100),
			in(fmt.Sprintf("shop/s%d.shop", i%1000)), fmt.Sprintf("10.2.%d.%d", i/250, i%250+1)))
	}
	for i := range 1000 {
		u.UpsertAddress = append(u.UpsertAddress, svc(fmt.Sprint("s", i), nil, fmt.Sprintf("10.1.%d.%d", i/250, i%250+1)))
		u.UpsertPolicy = append(u.UpsertPolicy, policy(fmt.Sprint("p", i), security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW,
			principal(fmt.Sprint("w", i)), principal("friend")))
	}
	var policies []string
	for i := range 20 {
		policies = append(policies, fmt.Sprint("shop/p", i))
	}
	u.UpsertAddress = append(u.UpsertAddress, pod("client", "here", nil, "10.0.0.1"), pod("friend", "there", nil, "10.0.0.3"),
		pod("server", "here", and(in("shop/s1.shop"), named(policies...)), "10.0.0.2"))
	w.apply(u)
	return w, w.serve("client"), w.serve("server")
}

func BenchmarkAcceptedService(b *testing.B) {
	w, client, _ := large(b)
	b.ReportAllocs()
	r := w.outbound(client, "10.1.2.7:80")
	for b.Loop() {
		r.State, r.Trace = nil, ""
		if p := w.d.Accepted(r); p.Action != engine.Tunnel {
			b.Fatal(show(p))
		}
		of(r).lease.Release()
	}
}

func BenchmarkAcceptedPod(b *testing.B) {
	w, client, _ := large(b)
	b.ReportAllocs()
	r := w.outbound(client, "10.2.2.7:80")
	for b.Loop() {
		r.State, r.Trace = nil, ""
		if p := w.d.Accepted(r); p.Action != engine.Tunnel {
			b.Fatal(show(p))
		}
	}
}

func BenchmarkConnect(b *testing.B) {
	w, _, server := large(b)
	b.ReportAllocs()
	r := w.tunnel(server, "friend", "10.0.0.3", "10.0.0.2:8080")
	r.Request.Forwarded = `for="10.0.0.3:1";host=s1.shop`
	for b.Loop() {
		r.State = nil
		if p := w.d.Connect(r); p.Action != engine.Deliver {
			b.Fatal(show(p))
		}
	}
}

func BenchmarkRejudge(b *testing.B) {
	w, _, server := large(b)
	b.ReportAllocs()
	r := w.tunnel(server, "friend", "10.0.0.3", "10.0.0.2:8080")
	w.establish(r, w.d.Connect(r))
	for b.Loop() {
		if _, ok := w.d.Rejudge(r); !ok {
			b.Fatal("ended")
		}
	}
}

// A connection's whole way through the Decider, with metrics.
func BenchmarkLife(b *testing.B) {
	w, client, _ := large(b)
	b.ReportAllocs()
	for b.Loop() {
		r := w.outbound(client, "10.1.2.7:80")
		w.establish(r, w.d.Accepted(r))
		w.d.Answered(r)
		w.d.Closed(r)
	}
}
