package decide

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

func ejectedOnes(w *world) (n int) {
	for _, s := range w.bal.State() {
		if s.Ejected || len(s.EjectedFor) > 0 {
			n++
		}
	}
	return n
}

// What a hostile pod can bring about at will must not take an endpoint from anybody.
func TestHostilePodEjectsNothing(t *testing.T) {
	dialFails := func(err *engine.DialError) func(*world, *engine.Record, engine.Plan) {
		return func(w *world, r *engine.Record, p engine.Plan) {
			p = w.dialed(r, p, err)
			r.Reason, r.Detail = p.Reason, p.Detail
		}
	}
	ends := func(why reason.Reason, detail string) func(*world, *engine.Record, engine.Plan) {
		return func(w *world, r *engine.Record, p engine.Plan) {
			w.establish(r, p)
			r.Reason, r.Detail = why, detail
		}
	}
	for name, act := range map[string]func(*world, *engine.Record, engine.Plan){
		"denied":             dialFails(&engine.DialError{Reason: reason.PeerRefused, Status: 401, Err: hbone.StatusError{Status: 401}}),
		"bad request":        dialFails(dialErr(reason.BadRequest)),
		"no certificate":     dialFails(dialErr(reason.IdentityError)),
		"over its limit":     dialFails(dialErr(reason.Limit)),
		"no route of its":    dialFails(&engine.DialError{Reason: reason.Unreachable, Err: fmt.Errorf("connect: %w", syscall.ENETUNREACH)}),
		"no port of its":     dialFails(&engine.DialError{Reason: reason.Unreachable, Err: fmt.Errorf("connect: %w", syscall.EADDRNOTAVAIL)}),
		"resets":             ends(reason.None, engine.ResetByClient),
		"closes":             ends(reason.None, ""),
		"policy changes":     ends(reason.PolicyChanged, ""),
		"is deleted":         ends(reason.PodGone, ""),
		"gives up in a dial": func(_ *world, r *engine.Record, _ engine.Plan) { r.Reason = reason.PodGone },
	} {
		t.Run(name, func(t *testing.T) {
			w, client := three(t)
			for range 1000 {
				r := w.outbound(client, vip+":80")
				p := w.d.Accepted(r)
				if p.Action != engine.Tunnel {
					t.Fatalf("%s", show(p))
				}
				act(w, r, p)
				w.d.Closed(r)
			}
			if n := ejectedOnes(w); n != 0 {
				t.Errorf("%d endpoints ejected: %+v", n, w.bal.State())
			}
		})
	}
}

func TestFailuresEject(t *testing.T) {
	for name, fail := range map[string]func(*world, *engine.Record, engine.Plan){
		"refused": func(w *world, r *engine.Record, p engine.Plan) { w.dialed(r, p, dialErr(reason.ConnectRefused)) },
		"503": func(w *world, r *engine.Record, p engine.Plan) {
			w.dialed(r, p, &engine.DialError{Reason: reason.PeerUnavailable, Status: 503, Err: hbone.StatusError{Status: 503}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, client := three(t)
			for i := 0; i < 500 && ejectedOnes(w) == 0; i++ {
				r := w.outbound(client, vip+":80")
				p := w.d.Accepted(r)
				if r.To.Name != "far" {
					w.establish(r, p)
					w.d.Answered(r)
					w.d.Closed(r)
					continue
				}
				fail(w, r, p)
				r.Reason = reason.ConnectRefused
				w.d.Closed(r)
			}
			for _, s := range w.bal.State() {
				if s.Ejected != (s.Workload == uid("far")) {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// Resets before the first byte count for the pod that saw them, and for all when two identities agree.
func TestEarlyResets(t *testing.T) {
	w, client := three(t)
	other := w.serve("other")
	reset := func(p *engine.Pod) {
		for range 200 {
			r := w.outbound(p, vip+":80")
			plan := w.d.Accepted(r)
			w.establish(r, plan)
			if r.To.Name == "far" {
				r.Detail = engine.ResetByServer
			} else {
				w.d.Answered(r)
			}
			w.d.Closed(r)
		}
	}
	find := func() balance.EndpointState {
		for _, s := range w.bal.State() {
			if s.Workload == uid("far") {
				return s
			}
		}
		return balance.EndpointState{}
	}
	reset(client)
	if s := find(); s.Ejected || len(s.EjectedFor) != 1 || s.EjectedFor[0] != uid("client") {
		t.Errorf("after one pod: %+v", s)
	}
	reset(other)
	if s := find(); !s.Ejected {
		t.Errorf("after two identities: %+v", s)
	}
}

// What a connection to far says of it when it ended in this way: an outcome heals a streak of four
// failures, says nothing, or is the fifth.
func TestWhatAnEndSays(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*world, *engine.Record, engine.Plan)
		then int // failures more until it is ejected; 0: it is already
	}{
		{"orderly", func(w *world, r *engine.Record, p engine.Plan) { w.establish(r, p) }, 5},
		{"answered, then reset", func(w *world, r *engine.Record, p engine.Plan) {
			w.establish(r, p)
			w.d.Answered(r)
			r.Detail = engine.ResetByServer
		}, 5},
		{"client's reset", func(w *world, r *engine.Record, p engine.Plan) {
			w.establish(r, p)
			r.Detail = engine.ResetByClient
		}, 1},
		{"client gave up", func(*world, *engine.Record, engine.Plan) {}, 1},
		{"401", func(w *world, r *engine.Record, p engine.Plan) { w.dialed(r, p, dialErr(reason.PeerRefused)) }, 1},
		{"503", func(w *world, r *engine.Record, p engine.Plan) { w.dialed(r, p, dialErr(reason.PeerUnavailable)) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, client := three(t)
			to := func(end func(*world, *engine.Record, engine.Plan)) {
				for {
					r := w.outbound(client, vip+":80")
					p := w.d.Accepted(r)
					hit := r.To.Name == "far"
					if hit {
						end(w, r, p)
					}
					w.d.Closed(r)
					if hit {
						return
					}
				}
			}
			fail := func(w *world, r *engine.Record, p engine.Plan) { w.dialed(r, p, dialErr(reason.ConnectRefused)) }
			for range 4 {
				to(fail)
			}
			to(c.end)
			for i := range c.then {
				if ejectedOnes(w) != 0 {
					t.Fatalf("ejected %d failures early", c.then-i)
				}
				to(fail)
			}
			if ejectedOnes(w) != 1 {
				t.Errorf("not ejected: %+v", w.bal.State())
			}
		})
	}
}
