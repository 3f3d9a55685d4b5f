package std

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

const (
	firstPause = 5 * time.Millisecond
	longPause  = time.Second
)

// accept takes connections until the listener is closed. What cannot be accepted now (no descriptors
// left, say) stays in the kernel's queue.
func (e *Engine) accept(p *pod, ln *net.TCPListener, kind engine.Kind) {
	defer p.dropListener(ln)
	pause := firstPause
	for {
		c, err := ln.AcceptTCP()
		switch {
		case err == nil:
			pause = firstPause
			e.accepted(p, c, kind)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			e.opts.Log.Warn("accept", "pod", p.UID, "listener", kind.String(), "pause", pause, "error", err)
			if !sleep(p.ctx, pause) {
				return
			}
			pause = min(2*pause, longPause)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// accepted starts the goroutine of a connection.
func (e *Engine) accepted(p *pod, c *net.TCPConn, kind engine.Kind) {
	from := newTCPLeg(c)
	done, ok := e.begin(p)
	if !ok {
		from.cut()
		return
	}
	now := e.opts.Now()
	p.Usage.LastAccept.Store(now.UnixNano())
	r := e.record(p, kind, now)
	r.Source, r.Dest = netsock.AddrPort(c.RemoteAddr()), netsock.AddrPort(c.LocalAddr())
	go func() {
		defer done()
		if kind == engine.HBONE {
			e.serveTunnels(p, from, r)
			return
		}
		e.newFlow(p, r, from).run()
	}()
}

// begin counts one piece of work for the pod, unless it is gone.
func (e *Engine) begin(p *pod) (done func(), ok bool) {
	if !p.inside.Enter() {
		return nil, false
	}
	e.work.Enter() // never shut
	return func() { e.work.Leave(); p.inside.Leave() }, true
}

func (e *Engine) record(p *pod, kind engine.Kind, now time.Time) *engine.Record {
	return &engine.Record{ID: e.lastID.Add(1), Kind: kind, Pod: p.Pod, Accepted: now, Bytes: &telemetry.Bytes{}}
}
