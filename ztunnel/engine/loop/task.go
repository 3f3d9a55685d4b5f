package loop

import (
	"fmt"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// task is what a flow needs until its leg is made, and not afterwards.
type task struct {
	undo   func()              // gives up what is waited for; nil: nothing is
	timer  poll.Timer          // of the attempt
	header []hpack.HeaderField // of the 200

	// Of a tunnel.
	limit time.Time // of the attempt
	dial  *poolDial // that is waited for; nil: none
	tries int       // to open it
	fresh bool      // the connection was made for this attempt
	early early
}

func (t *task) abandon() {
	if undo := t.undo; undo != nil {
		t.undo = nil
		undo()
	}
}

// obey does what the Decider says.
func (f *flow) obey(plan engine.Plan) {
	switch plan.Action {
	case engine.Refuse:
		f.refuse(outcome.Refusal(plan))
	case engine.Wait:
		f.wait(plan)
	default:
		f.attempt(plan)
	}
}

// wait asks again when it is time to, and refuses when it is too late.
func (f *flow) wait(plan engine.Plan) {
	stop := make(chan struct{})
	f.task.undo = func() { close(stop) }
	then := func(next func()) {
		f.post(func() {
			if !f.ended {
				f.task.undo = nil
				next()
			}
		})
	}
	go func() {
		late := time.NewTimer(plan.Deadline.Sub(f.p.e.opts.Now()))
		defer late.Stop()
		select {
		case <-plan.Until:
			then(func() { f.obey(f.ask()) })
		case <-late.C:
			then(func() { f.refuse(outcome.Refusal(plan)) })
		case <-stop:
		}
	}()
}

// attempt makes one attempt and notes it in the record.
func (f *flow) attempt(plan engine.Plan) {
	d := plan.Dial
	d.Action, d.To = plan.Action, netsock.Unmap(d.To)
	f.rec.Attempts++
	f.rec.Attempt = engine.Attempt{Dial: d}
	f.task.header = plan.Header
	switch d.Action {
	case engine.Plain, engine.Deliver:
		if f.from.fd < 0 {
			f.dial()
			return
		}
		f.move(f.p.e.place(f.w.Load()), f.dial)
	case engine.Tunnel:
		f.tunnel()
	default:
		f.failed(&engine.DialError{Reason: reason.Internal, Err: fmt.Errorf("plan asks for action %d", d.Action)})
	}
}

// failed asks what to do after a failed attempt, of which nothing is left.
func (f *flow) failed(err *engine.DialError) {
	f.release()
	if gone := f.p.gone.Load(); gone != nil {
		f.why.CompareAndSwap(nil, gone)
	}
	if f.why.Load() != nil {
		f.stop()
		return
	}
	f.obey(f.mayGoOn(f.p.e.opts.Decider.Dialed(f.rec, err), err))
}

// patience is how long the attempt may take.
func (f *flow) patience() time.Duration {
	return f.p.e.opts.Within(f.rec.Attempt.Dial)
}
