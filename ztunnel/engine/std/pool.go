package std

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// pool holds the mTLS connections that one pod has opened. Peers judge the TCP source address, so pods
// never share.
type pool struct {
	p *pod

	mu      sync.Mutex
	closed  bool
	targets map[poolKey]*target
	all     map[*pooled]struct{} // those that live, also if they take no more tunnels
}

type poolKey struct {
	id    identity.ID
	peers string
	to    netip.AddrPort
}

func (l *pool) init(p *pod) {
	l.p, l.targets, l.all = p, map[poolKey]*target{}, map[*pooled]struct{}{}
}

// get returns a connection with room. fresh says that it was made for this call, or while it waited.
func (l *pool) get(ctx context.Context, d engine.Dial, a *engine.Attempt) (c *pooled, fresh bool, _ *engine.DialError) {
	key := poolKey{l.p.Identity, strings.Join(d.Peers, "\x00"), d.To}
	for {
		c, w, mine := l.take(key, d)
		if c != nil {
			return c, false, nil
		}
		select {
		case <-w.done:
		case <-ctx.Done():
			return nil, false, outcome.OpenError(fmt.Errorf("wait for tunnel connection: %w", context.Cause(ctx)))
		}
		if mine {
			a.Connected, a.Handshake = w.connected, w.handshake
		}
		if w.err != nil {
			return nil, false, w.err
		}
		if w.conn.cc.Room() > 0 || w.conn.dead() { // if it is dead already, opening a tunnel tells why
			return w.conn, true, nil
		}
	}
}

// take returns a connection, or the dial to wait for, which it starts if there is none.
func (l *pool) take(key poolKey, d engine.Dial) (c *pooled, w *dialing, mine bool) {
	newest, _ := l.p.e.opts.Certs.Get(key.id)
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.targets[key]
	if t == nil {
		t = &target{}
		l.targets[key] = t
	}
	if c := t.pick(l.p.e.opts.Now(), newest); c != nil {
		return c, nil, false
	}
	if t.dial != nil {
		return nil, t.dial, false
	}
	w = &dialing{done: make(chan struct{})}
	t.dial = w
	l.start(t, w, d)
	return nil, w, true
}

// start dials for all who wait, whatever becomes of the flow that came first. mu is held.
func (l *pool) start(t *target, w *dialing, d engine.Dial) {
	if l.closed || !l.p.inside.Enter() {
		w.err = &engine.DialError{Reason: reason.PodGone, Err: errors.New("the pod is gone")}
		t.dial = nil
		close(w.done)
		return
	}
	go func() {
		defer l.p.inside.Leave()
		ctx, cancel := context.WithTimeout(l.p.ctx, l.p.e.opts.Within(d))
		defer cancel()
		w.conn, w.err = l.dial(ctx, d, w)
		l.mu.Lock()
		t.dial = nil
		if w.err == nil {
			t.conns = append(t.conns, w.conn)
			l.all[w.conn] = struct{}{}
			if l.closed {
				go w.conn.cc.Close()
			}
		}
		l.mu.Unlock()
		close(w.done)
		if w.err == nil {
			<-w.conn.cc.Done()
			l.forget(w.conn)
		}
	}()
}

func (l *pool) forget(c *pooled) {
	l.p.Usage.Tunnels.Add(-1)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, c)
}

// sweep closes what idles and forgets targets without connections.
func (l *pool) sweep(now time.Time) {
	newest, _ := l.p.e.opts.Certs.Get(l.p.Identity)
	l.p.sessions.Keep(newest, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, t := range l.targets {
		t.conns = slices.DeleteFunc(t.conns, func(c *pooled) bool {
			if c.cc.Idle() > l.p.e.opts.IdleTunnel {
				c.cc.GoAway()
				return true
			}
			return c.retire(now, newest)
		})
		if len(t.conns) == 0 && t.dial == nil {
			delete(l.targets, key)
		}
	}
}

// distrust retires connections whose peer no longer chains to the roots.
func (l *pool) distrust(own *identity.Cert, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.all {
		if !c.peer.Trusted(own, now) {
			c.until = time.Time{}
			c.cc.GoAway()
		}
	}
}

// discard takes a connection out that has failed its user.
func (l *pool) discard(c *pooled) {
	l.mu.Lock()
	c.until = time.Time{}
	l.mu.Unlock()
	c.cc.GoAway()
}

func (l *pool) list() []*pooled {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*pooled, 0, len(l.all))
	for c := range l.all {
		out = append(out, c)
	}
	return out
}

// close ends every connection at once.
func (l *pool) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range l.list() {
		wg.Go(func() { _ = c.cc.Close() })
	}
	wg.Wait()
}
