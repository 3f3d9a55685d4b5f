package decide

import (
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

func waypointed(w *workload.Workload) { w.Waypoint = &workload.GatewayAddress{} }

// directWorld has a client, and pods that it may be connected with directly or not.
func directWorld(t *testing.T, way SameNode) (w *world, client *engine.Pod) {
	w = newWorld(t, func(o *Options) { o.SameNode = way })
	eject, err := anypb.New(&ambit.Outlier{ConsecutiveFailures: 5, IntervalMs: 10_000, BaseEjectionMs: 30_000, MaxEjectionPercent: 50})
	if err != nil {
		t.Fatal(err)
	}
	w.addresses(
		pod("client", "here", nil, "10.0.0.1"),
		pod("near", "here", in("shop/near.shop", "shop/both.shop", "shop/mixed.shop", "shop/self.shop"), "10.0.0.2", "fd00::2"),
		pod("beside", "here", in("shop/both.shop"), "10.0.0.3"),
		pod("unserved", "here", nil, "10.0.0.4"),
		pod("bare", "here", plainTCP, "10.0.0.5"),
		pod("behind", "here", waypointed, "10.0.0.6"),
		pod("guarded", "here", named("shop/friends"), "10.0.0.7"),
		pod("tried", "here", named("shop/trial"), "10.0.0.8"),
		pod("mystery", "here", named("shop/nobody-knows"), "10.0.0.9"),
		pod("far", "there", in("shop/mixed.shop"), "10.0.1.2"),
		svc("near", nil, "10.1.0.1", "fd01::1"), svc("both", func(s *workload.Service) {
			s.Extensions = []*workload.Extension{{Name: mesh.OutlierExtension, Config: eject}}
		}, "10.1.0.2"), svc("mixed", nil, "10.1.0.3"), svc("empty", nil, "10.1.0.4"),
		svc("gated", func(s *workload.Service) { s.Waypoint = &workload.GatewayAddress{} }, "10.1.0.5"),
		svc("self", nil, "10.1.0.6"),
	)
	trial := policy("trial", security.Scope_WORKLOAD_SELECTOR, security.Action_DENY, principal("client"))
	trial.DryRun = true
	w.policies(policy("friends", security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW, principal("friend")), trial)
	for _, n := range []string{"near", "beside", "bare", "behind", "guarded", "tried", "mystery"} {
		w.serve(n)
	}
	return w, w.serve("client")
}

func TestDirect(t *testing.T) {
	w, client := directWorld(t, Direct)
	near := w.local[netip.MustParseAddr("10.0.0.2")]
	for _, tt := range []struct {
		name   string
		caller *engine.Pod
		to     string
		places []string
	}{
		{"pod", client, "10.0.0.2:8080", []string{"10.0.0.2:8080"}},
		{"another family than the caller has", client, "[fd00::2]:8080", nil},
		{"service", client, "10.1.0.1:80", []string{"10.0.0.2:8080"}},
		{"service of another family than the caller has", client, "[fd01::1]:80", nil},
		{"service with two endpoints", client, "10.1.0.2:80", []string{"10.0.0.2:8080", "10.0.0.3:8080"}},
		{"service with an endpoint on another node", client, "10.1.0.3:80", nil},
		{"service without endpoints", client, "10.1.0.4:80", nil},
		{"port that the service has not", client, "10.1.0.1:81", nil},
		{"service with a waypoint", client, "10.1.0.5:80", nil},
		{"the service's own pod", near, "10.1.0.6:80", nil},
		{"itself", near, "10.0.0.2:8080", nil},
		{"another node", client, "10.0.1.2:8080", nil},
		{"nobody knows it", client, "192.0.2.1:80", nil},
		{"not served by this proxy", client, "10.0.0.4:8080", nil},
		{"without a tunnel", client, "10.0.0.5:8080", nil},
		{"with a waypoint", client, "10.0.0.6:8080", nil},
		{"refused", client, "10.0.0.7:8080", nil},
		{"refused by a dry run", client, "10.0.0.8:8080", nil},
		{"unknown policy", client, "10.0.0.9:8080", nil},
		{"the mesh's own port", client, "10.0.0.2:15008", nil},
	} {
		r, ok := w.d.Direct(tt.caller, netip.MustParseAddrPort(tt.to))
		var got []string
		for _, p := range r.Places {
			got = append(got, p.At.String())
		}
		slices.Sort(got)
		if ok != (tt.places != nil) || ok && !slices.Equal(got, tt.places) {
			t.Errorf("%s: %v %q, want %q", tt.name, ok, got, tt.places)
		}
		if ok && (r.Generation != w.store.Snapshot().Generation() || r.From == nil || r.Places[0].To == nil) {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
}

func TestNothingIsDirectIn(t *testing.T) {
	for _, way := range []SameNode{HandOver, MTLS} {
		w, client := directWorld(t, way)
		if _, ok := w.d.Direct(client, netip.MustParseAddrPort("10.0.0.2:8080")); ok {
			t.Errorf("%s: it went direct", way)
		}
	}
}

func TestDirectStopsFor(t *testing.T) {
	to := netip.MustParseAddrPort("10.1.0.2:80")
	for name, spoil := range map[string]func(w *world, client *engine.Pod){
		"a caller that leaves":      func(_ *world, client *engine.Pod) { client.Leaving.Store(true) },
		"a destination that leaves": func(w *world, _ *engine.Pod) { w.local[netip.MustParseAddr("10.0.0.2")].Leaving.Store(true) },
		"a caller without a record": func(w *world, _ *engine.Pod) { w.apply(mesh.Update{RemoveAddress: []string{uid("client")}}) },
		"STRICT is nothing to it, a DENY is": func(w *world, _ *engine.Pod) {
			w.policies(strict(), policy("no", security.Scope_NAMESPACE, security.Action_DENY, principal("client")))
		},
		"an ejected endpoint": func(w *world, client *engine.Pod) {
			snap := w.store.Snapshot()
			svc := snap.Service("shop/both.shop")
			for range 30 {
				if _, lease, ok := w.bal.Pick(svc, snap.Endpoints(svc), nil, balance.Want{Source: client.Workload, Identity: client.Identity}); ok {
					lease.Report(balance.Refused, "")
					lease.Release()
				}
			}
		},
	} {
		w, client := directWorld(t, Direct)
		if _, ok := w.d.Direct(client, to); !ok {
			t.Fatalf("%s: it is not direct before", name)
		}
		spoil(w, client)
		if r, ok := w.d.Direct(client, to); ok {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestRejudgeDirect(t *testing.T) {
	w, client := directWorld(t, Direct)
	near, at := w.local[netip.MustParseAddr("10.0.0.2")], netip.MustParseAddrPort("10.0.0.2:8080")
	want := func(why reason.Reason) {
		t.Helper()
		if got, ok := w.d.RejudgeDirect(client, near, at); got != why || ok != (why == reason.None) {
			t.Errorf("%q %v, want %q", got, ok, why)
		}
	}
	want(reason.None)
	w.policies(policy("no", security.Scope_NAMESPACE, security.Action_DENY, principal("client")))
	want(reason.PolicyDeny)
	w.apply(mesh.Update{RemovePolicy: []string{"shop/no"}})
	want(reason.None)
	w.addresses(pod("near", "here", named("shop/unheard-of"), "10.0.0.2", "fd00::2"))
	want(reason.PolicyUnknown)
	w.addresses(pod("heir", "here", nil, "10.0.0.2"))
	want(reason.WorkloadUnknown)
}

func TestDirectIsCountedAtBothEnds(t *testing.T) {
	w, reg, _ := watched(t)
	w.d.opts.SameNode = Direct
	w.serve("near")
	r, ok := w.d.Direct(w.serve("client"), netip.MustParseAddrPort("10.0.0.2:80"))
	if !ok {
		t.Fatal("not direct")
	}
	w.d.Count(&r, &r.Places[0], Tally{Opened: 3, Closed: 2, Failed: 1, Sent: 50, Received: 70})
	for _, reporter := range []string{telemetry.Source.String(), telemetry.Destination.String()} {
		labels := []string{"reporter=" + reporter, "source_principal=" + id("client").String(), "destination_principal=" + id("near").String()}
		for name, want := range map[string]float64{
			"istio_tcp_connections_opened_total": 3, "istio_tcp_connections_closed_total": 2, "istio_tcp_received_bytes_total": 50, "istio_tcp_sent_bytes_total": 70,
		} {
			if got := read(t, reg, name, labels...); got != want {
				t.Errorf("%s at %s is %v, want %v", name, reporter, got, want)
			}
		}
	}
}
