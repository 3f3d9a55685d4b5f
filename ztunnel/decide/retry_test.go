package decide

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// three is a service with three endpoints far away and ejection after five failures.
func three(t testing.TB) (*world, *engine.Pod) {
	w, client := shop(t, nil)
	eject, err := anypb.New(&ambit.Outlier{ConsecutiveFailures: 5, IntervalMs: 10_000, BaseEjectionMs: 30_000, MaxEjectionPercent: 50})
	if err != nil {
		t.Fatal(err)
	}
	w.addresses(
		pod("far2", "there", in("shop/web.shop"), "10.0.1.2"),
		pod("far3", "there", in("shop/web.shop"), "10.0.1.3"),
		pod("other", "here", nil, "10.0.0.5"),
		svc("web", func(s *workload.Service) {
			s.Extensions = []*workload.Extension{{Name: mesh.OutlierExtension, Config: eject}}
		}, vip),
	)
	return w, client
}

func dialErr(why reason.Reason) *engine.DialError {
	return &engine.DialError{Reason: why, Err: errors.New("test")}
}

func TestRetry(t *testing.T) {
	for why, again := range map[reason.Reason]bool{
		reason.ConnectRefused: true, reason.ConnectTimeout: true, reason.Unreachable: true, reason.TLSFailure: true,
		reason.TrustDomain: true, reason.WrongPeer: true, reason.PeerUnavailable: true,
		reason.PeerRefused: false, reason.BadRequest: false, reason.TunnelLost: false, reason.IdentityError: false,
		reason.Limit: false, reason.Internal: false,
	} {
		t.Run(string(why), func(t *testing.T) {
			w, client := three(t)
			r := w.outbound(client, vip+":80")
			plan := w.d.Accepted(r)
			seen := map[string]bool{}
			dials := 0
			for plan.Action == engine.Tunnel {
				if seen[r.To.Name] {
					t.Fatalf("%s was tried twice", r.To.Name)
				}
				seen[r.To.Name] = true
				dials++
				plan = w.dialed(r, plan, dialErr(why))
			}
			want := 1
			if again {
				want = 3
			}
			if dials != want || plan.Action != engine.Refuse || plan.Reason != why {
				t.Errorf("%d dials, then %s", dials, show(plan))
			}
			r.Reason = plan.Reason
			w.d.Closed(r)
			for _, s := range w.bal.State() {
				if s.InFlight != 0 {
					t.Errorf("%s: %d in flight after the end", s.Workload, s.InFlight)
				}
			}
		})
	}
}

func TestRetryBounds(t *testing.T) {
	w, client := three(t)
	for i := range 10 {
		w.addresses(pod(fmt.Sprint("more", i), "there", in("shop/web.shop"), fmt.Sprint("10.0.4.", i+1)))
	}
	r := w.outbound(client, vip+":80")
	dials := 0
	for plan := w.d.Accepted(r); plan.Action == engine.Tunnel; plan = w.dialed(r, plan, dialErr(reason.ConnectRefused)) {
		dials++
	}
	if dials != 3 {
		t.Errorf("%d dials", dials)
	}
	r = w.outbound(client, vip+":80")
	plan := w.d.Accepted(r)
	w.now = w.now.Add(16 * time.Second)
	wantPlan(t, w.dialed(r, plan, dialErr(reason.ConnectTimeout)), engine.Refuse, "connect_timeout")
	for _, to := range []string{"10.0.1.1:80", "192.0.2.1:80"} { // a pod by itself, and outside: no service, no retry
		r = w.outbound(client, to)
		plan = w.d.Accepted(r)
		wantPlan(t, w.dialed(r, plan, dialErr(reason.ConnectRefused)), engine.Refuse, "connect_refused")
	}
}

// A hand-over that policy refuses does not go to another endpoint, and neither does a retry become one
// that is refused: the record keeps the first failure.
func TestRetryIntoRefusal(t *testing.T) {
	w, client := shop(t, nil)
	w.addresses(pod("near", "here", in("shop/web.shop"), "10.0.0.2"))
	w.serve("near")
	w.addresses(pod("near", "here", and(in("shop/web.shop"), named("shop/none")), "10.0.0.2"))
	w.policies(policy("none", security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW))
	for range 20 {
		r := w.outbound(client, vip+":80")
		plan := w.d.Accepted(r)
		if plan.Action == engine.Refuse {
			if plan.Reason != reason.PolicyNoAllow || r.To.Name != "near" {
				t.Errorf("%s", show(plan))
			}
			continue
		}
		plan = w.dialed(r, plan, dialErr(reason.ConnectRefused))
		wantPlan(t, plan, engine.Refuse, "connect_refused")
		if r.To.Name != "far" {
			t.Errorf("the record says %s", r.To.Name)
		}
	}
	for _, s := range w.bal.State() {
		if s.InFlight != 0 && s.Workload == uid("near") {
			t.Errorf("%+v", s)
		}
	}
}

// Between the first dial and the next the address may have become another service's.
func TestRetryOfAnotherService(t *testing.T) {
	for name, next := range map[string]func(w *world){
		"another": func(w *world) {
			w.addresses(svc("new", nil, vip), pod("new", "there", in("shop/new.shop"), "10.0.1.9"))
		},
		"none": func(*world) {},
	} {
		t.Run(name, func(t *testing.T) {
			w, client := three(t)
			r := w.outbound(client, vip+":80")
			plan := w.d.Accepted(r)
			to := r.To
			w.apply(mesh.Update{RemoveAddress: []string{"shop/web.shop"}})
			next(w)
			plan = w.dialed(r, plan, dialErr(reason.ConnectRefused))
			wantPlan(t, plan, engine.Refuse, "connect_refused")
			if r.To != to || r.Service.Name != "web" {
				t.Errorf("the record says %s of %s", r.To.Name, r.Service.Key)
			}
		})
	}
}

func TestRetryWithoutOwnRecord(t *testing.T) {
	w, client := three(t)
	r := w.outbound(client, vip+":80")
	plan := w.d.Accepted(r)
	w.apply(mesh.Update{RemoveAddress: []string{uid("client")}})
	wantPlan(t, w.dialed(r, plan, dialErr(reason.ConnectRefused)), engine.Refuse, "connect_refused")
}
