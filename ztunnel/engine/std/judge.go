package std

import (
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// establish asks the Decider a last time.
func (f *flow) establish() (why reason.Reason, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if why, ok = f.e.opts.Decider.Rejudge(f.rec); ok {
		f.e.opts.Decider.Established(f.rec)
	}
	return why, ok
}

// rejudge ends a live flow that is no longer allowed. Its pod's peers prove again who they are.
func (f *flow) rejudge() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	if why, ok := f.e.opts.Decider.Rejudge(f.rec); !ok {
		f.p.sessions.Forget()
		f.cancel(&outcome.End{Reason: why})
	}
}

// answered notes the first byte back.
func (f *flow) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rec.First = f.e.opts.Now().Sub(f.rec.Accepted)
	f.e.opts.Decider.Answered(f.rec)
}

func (f *flow) show(see func(*engine.Record) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed || see(f.rec)
}
