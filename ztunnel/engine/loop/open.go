package loop

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/mux"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// openTries is how often a tunnel is opened before its attempt has failed.
const openTries = 3

// tunnel makes the leg of the current attempt, through a pooled connection.
func (f *flow) tunnel() {
	if f.from.st != nil {
		f.failed(&engine.DialError{Reason: reason.Internal, Err: errors.New("a tunnel does not go into another")})
		return
	}
	t := f.task
	t.tries, t.limit = 1, time.Now().Add(f.patience())
	f.watch()
	f.open()
}

// watch has the attempt end in time, on the current worker.
func (f *flow) watch() {
	f.w.Load().After(&f.task.timer, time.Until(f.task.limit), f.tunnelLate)
}

func (f *flow) tunnelLate() {
	err := fmt.Errorf("open tunnel: attempt took more than %s: %w", f.patience(), unix.ETIMEDOUT)
	f.taint(err)
	f.task.abandon()
	f.tunnelFailed(outcome.OpenError(err))
}

// open finds a connection, or waits for one.
func (f *flow) open() {
	c, d := f.p.pool.take(f)
	if c != nil {
		f.goTo(c, false)
		return
	}
	f.task.dial = d
	f.task.undo = func() { f.task.dial = nil }
}

// ifDialed tells a flow that waits, on its worker, what became of the dial. The flow may have given up waiting.
func (f *flow) ifDialed(d *poolDial) {
	if !f.ended && f.task != nil && f.task.dial == d {
		f.dialed(d)
	}
}

func (f *flow) dialed(d *poolDial) {
	f.task.dial, f.task.undo = nil, nil
	if d.first == f {
		f.rec.Attempt.Connected, f.rec.Attempt.Handshake = d.connected, d.handshake
	}
	switch {
	case d.err != nil:
		f.tunnelFailed(d.err)
	case f.p.pool.claim(d.conn):
		f.goTo(d.conn, true)
	default:
		f.open()
	}
}

// goTo takes the flow to the worker of a connection on which it has a claim.
func (f *flow) goTo(c *carrier, fresh bool) {
	f.task.fresh = fresh
	f.task.undo = func() { f.p.pool.unclaim(c) }
	if f.w.Load() == c.w {
		f.openOn(c)
		return
	}
	f.w.Load().Cancel(&f.task.timer)
	f.move(c.w, func() {
		f.watch()
		f.openOn(c)
	})
}

// openOn opens the tunnel.
func (f *flow) openOn(c *carrier) {
	f.task.undo = nil
	s, err := c.mux.Open(f.rec.Attempt.Dial.Request, f)
	c.note()
	f.p.pool.unclaim(c)
	switch {
	case err == nil:
		f.to.st, f.to.c = s, c
		f.task.undo = f.unopen
		c.mark()
		f.sendEarly()
	case errors.Is(err, hbone.ErrNoRoom):
		f.open() // another flow was quicker
	default:
		f.again(c, err)
	}
}

// unopen gives the tunnel up before it was answered.
func (f *flow) unopen() {
	f.to.st.Reset(http2.ErrCodeCancel)
	f.to.leave()
}

// opened is told of the answer.
func (f *flow) opened(s *mux.Stream, status int) {
	if f.task == nil {
		return // only the first answer counts; mux sees to it
	}
	f.task.undo = nil
	if status != 200 {
		s.Close()
		f.to.leave()
		err := outcome.StatusError(status)
		if status != http.StatusServiceUnavailable {
			f.taint(err)
		}
		f.tunnelFailed(err)
		return
	}
	f.w.Load().Cancel(&f.task.timer)
	f.carry(0)
}

// notOpened is told that the tunnel broke before it was answered.
func (f *flow) notOpened(err error) {
	c := f.to.c
	f.task.undo = nil
	f.to.leave()
	f.again(c, err)
}

// again opens the tunnel once more if the peer did not act on it, or its connection died of age.
func (f *flow) again(c *carrier, err error) {
	f.taint(err)
	stale := !f.task.fresh && errors.Is(err, hbone.ErrConnLost)
	if f.task.tries == openTries || f.task.early.tainted || !stale && !outcome.Is(err, hbone.ErrRefused, hbone.ErrGone) {
		f.tunnelFailed(outcome.OpenError(err))
		return
	}
	f.task.tries++
	f.p.pool.discard(c)
	f.open()
}

func (f *flow) tunnelFailed(err *engine.DialError) {
	f.w.Load().Cancel(&f.task.timer)
	f.failed(err)
}
