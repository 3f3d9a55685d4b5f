package loop

import (
	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// earlyMost is how many bytes are sent behind a CONNECT before its answer, and kept for as long.
const earlyMost = 64 << 10

// early is what was sent before the tunnel was answered. It may be sent again only where the peer has not
// acted on it, which it says by refusing the stream or by status 503.
type early struct {
	kept    chunks
	tainted bool // the last tunnel may have delivered it
}

// sendEarly begins to send what the client has sent, behind the CONNECT: first what was sent before, to
// another peer.
func (f *flow) sendEarly() {
	f.replay()
	if err := f.listen(); err != nil {
		f.fail(&outcome.End{Reason: reason.Internal, Detail: err.Error()})
		return
	}
	f.from.readable = !f.from.eof
	f.to.st.Want()
}

// listen has the accepted socket's events told.
func (f *flow) listen() error {
	x := &f.from
	if x.fd < 0 || x.added {
		return nil
	}
	err := f.w.Load().Add(int(x.fd), x)
	x.added = err == nil
	return err
}

// replay puts what was sent to a leg that is no more in line for the next one.
func (f *flow) replay() {
	if f.task.early.kept.empty() {
		return
	}
	pool := &f.w.Load().chunks
	pool.drop(&f.to.pend)
	for c := f.task.early.kept.head; c != nil; c = c.next {
		pool.push(&f.to.pend, c.b[c.r:c.w])
	}
	f.bytes.Sent.Store(0)
}

// early returns how much may be read into a tunnel, at most so many bytes.
func (f *flow) early(most int) int {
	if f.task == nil {
		return most
	}
	return min(most, earlyMost-f.task.early.kept.size())
}

// keepEarly keeps what was read into a tunnel that is not answered.
func (f *flow) keepEarly(b []byte) {
	if f.task != nil {
		f.w.Load().chunks.push(&f.task.early.kept, b)
	}
}

// dropEarly lets go of what need not be sent again.
func (f *flow) dropEarly() { f.w.Load().chunks.drop(&f.task.early.kept) }

// unsendEarly is dropEarly for a flow that carried nothing.
func (f *flow) unsendEarly() {
	if !f.task.early.kept.empty() {
		f.bytes.Sent.Store(0)
	}
	f.dropEarly()
}

// taint notes that what was sent may have arrived.
func (f *flow) taint(err error) {
	if !f.task.early.kept.empty() && !outcome.Is(err, hbone.ErrRefused) {
		f.task.early.tainted = true
	}
}

// mayGoOn holds a plan against what was sent: after a tunnel that may have delivered it there is no other.
func (f *flow) mayGoOn(plan engine.Plan, err *engine.DialError) engine.Plan {
	if f.task.early.tainted && plan.Action != engine.Refuse {
		return engine.Plan{Reason: err.Reason, Detail: err.Error()}
	}
	return plan
}
