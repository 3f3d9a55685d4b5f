package std

import (
	"context"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/gate"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// flow is one captured connection, or one tunnel of a peer, from accept to end.
type flow struct {
	e      *Engine
	p      *pod
	rec    *engine.Record
	from   leg // that was accepted
	ctx    context.Context
	cancel context.CancelCauseFunc // with an *outcome.End
	peer   *server                 // whose tunnel it is; nil for captured connections
	over   queue                   // the tunnel connection that carries it; nil: none

	carries func() // called when the relay begins

	mu     sync.Mutex // held for calls of the Decider from Rejudge on, and for what they write
	closed bool
}

func (e *Engine) newFlow(p *pod, r *engine.Record, from leg) *flow {
	f := &flow{e: e, p: p, rec: r, from: from}
	f.ctx, f.cancel = context.WithCancelCause(p.ctx)
	return f
}

// run lives as long as the connection.
func (f *flow) run() {
	defer f.cancel(nil)
	release, ok := gate.Take(&f.p.Usage.Connections, f.p.Limits.Connections)
	defer release()
	if !ok {
		f.end(f.refuse(outcome.End{Reason: reason.Limit, Detail: "connections"}))
		return
	}
	if f.peer != nil { // while nothing is carried, the flow ends with its connection
		stop := context.AfterFunc(f.peer.ctx, func() { f.cancel(context.Cause(f.peer.ctx)) })
		defer stop()
		f.carries = func() { stop() }
	}
	f.end(f.serve())
}

// serve relays once there is a leg. What it took to make one is off the stack by then.
func (f *flow) serve() outcome.End {
	to, header, why := f.connect()
	if to == nil {
		return f.refuse(why)
	}
	return f.carry(to, header)
}

// connect obeys the Decider until a leg is made, or tells why there is none.
func (f *flow) connect() (to leg, header []hpack.HeaderField, why outcome.End) {
	if f.rec.Kind != engine.HBONE && f.e.legs.Own(f.rec.Kind, f.rec.Source, f.rec.Dest) {
		return nil, nil, outcome.End{Reason: reason.Loop, Detail: "one of our own legs came back"}
	}
	for plan := f.ask(); ; {
		switch plan.Action {
		case engine.Refuse:
			return nil, nil, outcome.Refusal(plan)
		case engine.Wait:
			if why := f.wait(plan); why != nil {
				return nil, nil, *why
			}
			plan = f.ask()
		default:
			to, err := f.dial(plan)
			if f.ctx.Err() != nil {
				if to != nil {
					to.cut()
				}
				return nil, nil, outcome.Of(f.ctx)
			}
			if err == nil {
				return to, plan.Header, outcome.End{}
			}
			plan = f.e.opts.Decider.Dialed(f.rec, err)
		}
	}
}

func (f *flow) ask() engine.Plan {
	if f.rec.Kind == engine.HBONE {
		return f.e.opts.Decider.Connect(f.rec)
	}
	return f.e.opts.Decider.Accepted(f.rec)
}

// wait returns nil when it is time to ask again.
func (f *flow) wait(plan engine.Plan) *outcome.End {
	t := time.NewTimer(plan.Deadline.Sub(f.e.opts.Now()))
	defer t.Stop()
	select {
	case <-plan.Until:
		return nil
	case <-t.C:
		o := outcome.Refusal(plan)
		return &o
	case <-f.ctx.Done():
		o := outcome.Of(f.ctx)
		return &o
	}
}

// refuse ends a flow that carried nothing.
func (f *flow) refuse(o outcome.End) outcome.End {
	if s, ok := f.from.(*streamLeg); ok {
		status := o.Status
		if status == 0 {
			status = outcome.RefusalStatus(o.Reason)
		}
		s.refuse(status)
		return o
	}
	f.from.cut()
	return o
}

// carry relays between the two legs, once the Decider has agreed a last time: the record is registered
// before it is judged again, so no change of policy falls between judgement and register.
func (f *flow) carry(to leg, header []hpack.HeaderField) outcome.End {
	f.e.live.add(f)
	defer f.e.live.remove(f)
	if why, ok := f.establish(); !ok {
		to.cut()
		return f.refuse(outcome.End{Reason: why})
	}
	if f.carries != nil {
		f.carries()
	}
	return f.relay(to, header)
}

// end tells the Decider, once for each record.
func (f *flow) end(o outcome.End) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t, ok := f.from.(*tcpLeg); ok {
		f.rec.TCPInfo = t.info // the leg is closed
	}
	f.closed = true
	f.e.report(f.rec, o)
}

// report finishes a record.
func (e *Engine) report(r *engine.Record, o outcome.End) {
	r.Reason, r.Detail = o.Reason, o.Detail
	r.Ended = e.opts.Now().Sub(r.Accepted)
	e.opts.Decider.Closed(r)
}
