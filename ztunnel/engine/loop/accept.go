package loop

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

const (
	firstPause = 5 * time.Millisecond
	longPause  = time.Second
	acceptTurn = 4 // connections accepted before others have their turn, and the peer learns of these
)

// listener takes connections until it is closed. It is its pod's worker's.
type listener struct {
	e     *Engine
	p     *pod
	kind  engine.Kind
	fd    int
	shut  bool
	ready bool // what waited before the listener was prepared has been accepted
	again bool // it is to have another turn
	pause time.Duration
	timer poll.Timer
}

// open fails if the listener was closed meanwhile, or would not have been.
func (l *listener) open() error {
	err := net.ErrClosed
	if !l.shut && !l.e.draining.Load() {
		if err = l.p.w.Add(l.fd, l); err == nil {
			return nil
		}
	}
	l.close()
	return err
}

func (l *listener) close() {
	if l.shut {
		return
	}
	l.shut = true
	l.p.w.Cancel(&l.timer)
	l.p.w.Forget(l.fd, true) // the agent has the socket, too
	_ = unix.Close(l.fd)
	l.p.dropListener(l)
}

// Ready accepts what there is.
func (l *listener) Ready(poll.Events) { l.Run() }

// Run accepts a number of connections. What cannot be accepted now (no descriptors left, say) stays in the
// kernel's queue.
func (l *listener) Run() {
	l.again = false
	for range acceptTurn {
		if l.shut {
			return
		}
		fd, from, errno := poll.Accept(l.fd)
		switch errno {
		case 0:
			l.pause = 0
			l.accepted(fd, from)
		case unix.EAGAIN:
			l.ready = true
			return
		default:
			l.later(errno)
			return
		}
	}
	if !l.again {
		l.again = true
		l.p.w.Again(l)
	}
}

func (l *listener) later(errno unix.Errno) {
	l.pause = min(max(2*l.pause, firstPause), longPause)
	l.e.opts.Log.Warn("accept", "pod", l.p.UID, "listener", l.kind.String(), "pause", l.pause, "error", errno)
	l.p.w.After(&l.timer, l.pause, l.Run)
}

// accepted begins to serve a connection.
func (l *listener) accepted(fd int, from netip.AddrPort) {
	if !l.ready {
		_ = setUpLeg(fd) // later ones inherit it from the listener
	}
	if !l.e.begin(l.p) {
		closeSocket(fd, true)
		return
	}
	r := l.e.record(l.p, l.kind)
	r.Source = from
	r.Dest, _ = poll.LocalAddr(fd)
	if l.kind == engine.HBONE {
		l.e.acceptPeer(l.p, fd, r)
		return
	}
	f := l.e.newFlow(l.p, l.p.w, r)
	f.from.fd = int32(fd)
	f.start()
}

// begin counts one piece of work for the pod, unless it is gone; finish ends it.
func (e *Engine) begin(p *pod) bool {
	if !p.inside.Enter() {
		return false
	}
	e.work.Enter() // never shut
	return true
}

func (e *Engine) finish(p *pod) {
	e.work.Leave()
	p.inside.Leave()
}

func (e *Engine) record(p *pod, kind engine.Kind) *engine.Record {
	now := e.opts.Now()
	p.Usage.LastAccept.Store(now.UnixNano())
	return &engine.Record{ID: e.lastID.Add(1), Kind: kind, Pod: p.Pod, Accepted: now}
}
