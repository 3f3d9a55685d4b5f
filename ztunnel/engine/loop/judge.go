package loop

import (
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

func (f *flow) ask() engine.Plan {
	if f.rec.Kind == engine.HBONE {
		return f.p.e.opts.Decider.Connect(f.rec)
	}
	return f.p.e.opts.Decider.Accepted(f.rec)
}

// establish asks the Decider a last time. The flow is live before it is judged again, so no change of
// policy falls between judgement and register.
func (f *flow) establish() (why reason.Reason, ok bool) {
	f.live.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	if why, ok = f.p.e.opts.Decider.Rejudge(f.rec); ok {
		f.p.e.opts.Decider.Established(f.rec)
		f.established = true
		f.p.e.growth.enter()
	}
	return why, ok
}

// rejudge ends a live flow that is no longer allowed. Its pod's peers prove again who they are. room is for its
// record.
func (f *flow) rejudge(room *engine.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	if why, ok := f.p.e.opts.Decider.Rejudge(f.view(room)); !ok {
		f.p.sessions.Forget()
		f.cancel(&outcome.End{Reason: why})
	}
}

// answered notes the first byte back.
func (f *flow) answered() {
	f.first = true
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.kept != nil
	r := f.whole()
	r.First = f.p.e.opts.Now().Sub(r.Accepted)
	f.p.e.opts.Decider.Answered(r)
	if kept {
		f.p.e.flows.move(r.ID, f, false)
	}
}

func (f *flow) show(room *engine.Record, see func(*engine.Record) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed || see(f.view(room))
}
