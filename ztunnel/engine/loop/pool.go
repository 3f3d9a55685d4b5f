package loop

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// pool holds the connections that one pod has opened. Peers judge the TCP source address, so pods never
// share. It is for every goroutine.
type pool struct {
	p *pod

	mu      sync.Mutex
	closed  bool
	targets map[poolKey]*target
}

type poolKey struct {
	id    identity.ID
	peers string
	to    netip.AddrPort
}

// target is one place that is connected to.
type target struct {
	conns []*carrier // that take tunnels, the oldest first
	dial  *poolDial  // one at a time; nil: none
	grown time.Time  // when a connection was last dialed to help others
}

// overworked reports whether another connection would help the best that there is.
func (t *target) overworked(c *carrier, now time.Time, workers int) bool {
	if !c.hot.Load() || len(t.conns) >= workers || now.Sub(t.grown) < tickEvery {
		return false
	}
	t.grown = now
	return true
}

// pooled is what the pool keeps of a connection, under its mutex.
type pooled struct {
	own     *identity.Cert
	until   time.Time // takes no tunnels from then on
	claimed int32     // flows on their way to it
}

func (l *pool) key(d *engine.Dial) poolKey {
	return poolKey{l.p.Identity, strings.Join(d.Peers, "\x00"), d.To}
}

// take claims room for a tunnel. If there is none it returns the dial to wait for: f's attempt learns what
// comes of it. A dial is started if there is no room, or if all that have some are so busy that another
// worker should help.
func (l *pool) take(f *flow) (*carrier, *poolDial) {
	d := &f.rec.Attempt.Dial
	key := l.key(d)
	newest, _ := l.p.e.opts.Certs.Get(key.id)
	now := l.p.e.opts.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.targets[key]
	if t == nil {
		t = &target{}
		l.targets[key] = t
	}
	c := t.pick(now, newest)
	if t.dial == nil && (c == nil || t.overworked(c, now, len(l.p.e.workers))) {
		t.dial = &poolDial{first: f}
		l.start(t, *d, f.w.Load())
	}
	if c != nil {
		c.claimed++
		return c, nil
	}
	t.dial.waiters = append(t.dial.waiters, f)
	return nil, t.dial
}

// start dials for all who wait, whatever becomes of the flow that came first. mu is held.
func (l *pool) start(t *target, d engine.Dial, near *worker) {
	w := t.dial
	if l.closed || !l.p.inside.Enter() {
		w.err = &engine.DialError{Reason: reason.PodGone, Err: errors.New("the pod is gone")}
		go l.dialed(t, w, nil)
		return
	}
	if len(t.conns) > 0 {
		near = l.p.e.spread(near)
	}
	go l.dial(t, w, d, near)
}

// dialed tells those who wait: on the worker here (nil: on none) at once, so that what they send goes with
// the connection's first bytes.
func (l *pool) dialed(t *target, w *poolDial, here *worker) {
	l.mu.Lock()
	t.dial = nil
	if w.conn != nil && !l.closed {
		t.conns = append(t.conns, w.conn)
	}
	waiters := w.waiters
	w.waiters = nil
	l.mu.Unlock()
	for _, f := range waiters {
		if f.w.Load() == here {
			f.ifDialed(w)
		} else {
			f.post(func() { f.ifDialed(w) })
		}
	}
}

// claim claims room on a connection that was waited for. If it is dead already, opening a tunnel tells why.
func (l *pool) claim(c *carrier) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.free.Load() <= c.claimed && !c.dead.Load() {
		return false
	}
	c.claimed++
	return true
}

// unclaim gives back what a flow has not used, or has turned into a tunnel.
func (l *pool) unclaim(c *carrier) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.claimed--
}

// discard takes a connection out that has failed its user.
func (l *pool) discard(c *carrier) {
	l.mu.Lock()
	c.until = time.Time{}
	l.mu.Unlock()
	c.goAway()
}

// pick returns the newest connection with room, if possible one that is not hot, and retires those that
// are not to be used again.
func (t *target) pick(now time.Time, newest *identity.Cert) (found *carrier) {
	t.conns = slices.DeleteFunc(t.conns, func(c *carrier) bool { return c.retire(now, newest) })
	for _, c := range slices.Backward(t.conns) {
		if c.free.Load() <= c.claimed {
			continue
		}
		if !c.hot.Load() {
			return c
		}
		if found == nil {
			found = c
		}
	}
	return found
}

// retire reports whether the connection is of no more use, and if so says goodbye: it ends, broken, near
// the end of a certificate, or made with one that has a successor.
func (c *carrier) retire(now time.Time, newest *identity.Cert) bool {
	superseded := newest != nil && newest != c.own && !newest.Leaf.Equal(c.own.Leaf) && newest.Valid(now)
	if !c.dead.Load() && now.Before(c.until) && !superseded {
		return false
	}
	c.goAway()
	return true
}

// sweep closes what idles and forgets targets without connections.
func (l *pool) sweep(now time.Time) {
	newest, _ := l.p.e.opts.Certs.Get(l.p.Identity)
	l.p.sessions.Keep(newest, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, t := range l.targets {
		t.conns = slices.DeleteFunc(t.conns, func(c *carrier) bool { return c.retire(now, newest) })
		for _, c := range t.conns {
			c.post(func() { l.idle(t, c) })
		}
		if len(t.conns) == 0 && t.dial == nil {
			delete(l.targets, key)
		}
	}
}

// idle says goodbye on a connection that nobody has used for long. It runs on the connection's worker.
func (l *pool) idle(t *target, c *carrier) {
	if c.mux.Idle() <= l.p.e.opts.IdleTunnel {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.claimed == 0 {
		t.conns = slices.DeleteFunc(t.conns, func(x *carrier) bool { return x == c })
		c.mux.GoAway()
	}
}

// close starts no more dials.
func (l *pool) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
