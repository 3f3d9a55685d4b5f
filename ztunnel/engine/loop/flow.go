package loop

import (
	"sync"
	"sync/atomic"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// flow is one captured connection, or one tunnel of a peer, from accept to end. It is its worker's, but
// for what is atomic or guarded by mu. There may be very many.
type flow struct {
	p    *pod
	w    atomic.Pointer[worker]
	from end // that was accepted
	to   end // that was made
	task *task
	leg  legs.Key            // of the leg that was made; 0: it is not registered
	dest atomic.Pointer[pod] // that the leg is in, if a pod that is served: its namespace is in use
	why  atomic.Pointer[outcome.End]
	lost *outcome.End // why the tunnel takes nothing more, though its peer had ended its side in order

	mu    sync.Mutex     // held for calls of the Decider from Rejudge on, and for what they write
	rec   *engine.Record // guarded by mu from Established on; nil: it is kept
	kept  *kept          // guarded by mu
	bytes telemetry.Bytes

	seatAt      int32       // in its list; the registry's, as the next two
	live        atomic.Bool // from before it is established until its end
	seatKept    bool        // in the list of those that are kept
	seatAge     uint8       // rounds of settle
	counted     bool        // among the pod's connections
	ended       bool        // nothing happens any more
	first       bool        // a byte has come back
	established bool        // guarded by mu
	closed      bool        // the Decider has been told; guarded by mu
}

func (e *Engine) newFlow(p *pod, w *worker, r *engine.Record) *flow {
	f := &flow{p: p, rec: r, task: &task{}}
	r.Bytes = &f.bytes
	f.from.f, f.from.fd = f, -1
	f.to.f, f.to.fd = f, -1
	f.w.Store(w)
	w.load.Add(1)
	return f
}

// start asks the Decider, unless the flow must not be.
func (f *flow) start() {
	e := f.p.e
	f.w.Load().Stir()
	e.flows.add(f)
	if why := f.p.gone.Load(); why != nil { // it may have missed those that are cut
		f.why.CompareAndSwap(nil, why)
		f.stop()
		return
	}
	f.counted = true
	if n, most := f.p.Usage.Connections.Add(1), f.p.Limits.Connections; most > 0 && n > most {
		f.refuse(outcome.End{Reason: reason.Limit, Detail: "connections"})
		return
	}
	if f.rec.Kind != engine.HBONE && e.legs.Own(f.rec.Kind, f.rec.Source, f.rec.Dest) {
		f.refuse(outcome.End{Reason: reason.Loop, Detail: "one of our own legs came back"})
		return
	}
	f.obey(f.ask())
}

// cancel ends the flow, from any goroutine. The first reason counts.
func (f *flow) cancel(why *outcome.End) {
	if f.why.CompareAndSwap(nil, why) {
		f.post(f.stop)
	}
}

// post runs then on the flow's worker, from any goroutine. The flow may move until then is due: it follows.
func (f *flow) post(then func()) {
	w := f.w.Load()
	w.Post(func() {
		if f.w.Load() != w {
			f.post(then)
			return
		}
		then()
	})
}

// move has the flow go on as then on another worker. Nothing of it but the accepted socket may be known to
// this one's loop.
func (f *flow) move(to *worker, then func()) {
	from := f.w.Load()
	if to == from {
		then()
		return
	}
	if x := &f.from; x.added {
		from.Forget(int(x.fd), true)
		x.added, x.readable = false, false
	}
	from.load.Add(-1)
	to.load.Add(1)
	f.w.Store(to)
	to.Post(func() {
		if f.ended {
			return
		}
		if f.why.Load() != nil {
			f.stop()
			return
		}
		then()
	})
}

// fail ends the flow on its worker, at once.
func (f *flow) fail(why *outcome.End) {
	f.why.CompareAndSwap(nil, why)
	f.stop()
}

// stop ends the flow by force, for the reason that was left.
func (f *flow) stop() {
	if f.ended {
		return
	}
	if f.task != nil {
		f.refuse(*f.why.Load())
		return
	}
	f.ended = true
	f.from.close(true)
	f.to.close(true)
	f.end(*f.why.Load())
}

// refuse ends a flow that carried nothing.
func (f *flow) refuse(o outcome.End) {
	f.ended = true
	f.w.Load().Cancel(&f.task.timer)
	f.task.abandon()
	f.unsendEarly()
	f.task = nil
	f.to.close(true)
	f.from.refuse(o)
	f.end(o)
}

// done ends a flow whose both sides have.
func (f *flow) done() {
	f.ended = true
	f.from.close(false)
	f.to.close(false)
	f.end(outcome.End{})
}

// end tells the Decider, once for each record, and lets go of everything. The ends are closed.
func (f *flow) end(o outcome.End) {
	f.release()
	f.mu.Lock()
	f.closed = true
	if f.established {
		f.p.e.growth.leave()
	}
	r := f.whole()
	f.p.e.report(r, o)
	f.mu.Unlock()
	f.live.Store(false)
	f.p.e.flows.remove(r.ID, f)
	if f.counted {
		f.p.Usage.Connections.Add(-1)
	}
	f.w.Load().load.Add(-1)
	f.p.e.finish(f.p)
}

// release gives up what the leg that was made, or was to be made, had.
func (f *flow) release() {
	if f.leg != 0 {
		f.p.e.legs.Drop(f.leg)
		f.leg = 0
	}
	if p := f.dest.Swap(nil); p != nil {
		p.inside.Leave()
	}
}

// report finishes a record.
func (e *Engine) report(r *engine.Record, o outcome.End) {
	if r.Bytes == nil {
		r.Bytes = &telemetry.Bytes{} // it never was a flow
	}
	r.Reason, r.Detail = o.Reason, o.Detail
	r.Ended = e.opts.Now().Sub(r.Accepted)
	e.opts.Decider.Closed(r)
}
