package loop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/trust"
)

// useAtLeast is how long a connection serves those who waited for it, however old a certificate is.
const useAtLeast = time.Second

// poolDial is a connection in the making. It has a goroutine of its own until it is done.
type poolDial struct {
	first     *flow   // for whom it was begun; only to be compared with
	waiters   []*flow // under the pool's mutex
	conn      *carrier
	err       *engine.DialError
	connected time.Duration
	handshake time.Duration
}

// dial makes a connection for the pool, has it carry tunnels on the worker, and tells those who wait.
func (l *pool) dial(t *target, w *poolDial, d engine.Dial, on *worker) {
	p := l.p
	ctx, cancel := context.WithTimeout(p.ctx, p.e.opts.Within(d))
	defer cancel()
	c, err := l.connection(ctx, w, d)
	if err != nil {
		w.err = err
		l.dialed(t, w, nil)
		return
	}
	c.w = on
	p.carry(c, false, func(err error, here *worker) {
		if err != nil {
			w.err = outcome.OpenError(err)
		} else {
			w.conn = c
		}
		l.dialed(t, w, here)
	})
}

// connection counts a connection for as long as it lives, and lets go of it if there is none.
func (l *pool) connection(ctx context.Context, w *poolDial, d engine.Dial) (c *carrier, derr *engine.DialError) {
	p := l.p
	n := p.Usage.Tunnels.Add(1)
	defer func() {
		if derr != nil {
			p.Usage.Tunnels.Add(-1)
			p.inside.Leave()
		}
	}()
	own, err := p.cert(ctx)
	if err != nil {
		return nil, &engine.DialError{Reason: reason.IdentityError, Err: err}
	}
	if most := p.Limits.Tunnels; most > 0 && n > most {
		return nil, &engine.DialError{Reason: reason.Limit, Err: errors.New("the pod's tunnel connections")}
	}
	start := time.Now()
	s, leg, err := p.connect(ctx, d.To)
	w.connected = max(time.Since(start), 1)
	if err != nil {
		return nil, outcome.DialError(err)
	}
	start = time.Now()
	c, derr = p.clientHandshake(ctx, s, own, d)
	w.handshake = max(time.Since(start), 1)
	if derr != nil {
		_ = s.Close()
		p.e.legs.Remove(leg)
		return nil, derr
	}
	c.leg, c.peers = leg, d.Peers
	return c, nil
}

// connect makes the socket of a connection.
func (p *pod) connect(ctx context.Context, to netip.AddrPort) (*socket, legs.Tuple, error) {
	fd, err := p.socket(nil, netsock.FamilyOf(to.Addr()))
	if err != nil {
		return nil, legs.Tuple{}, err
	}
	t, err := p.e.legs.AddAfter(to, engine.Tunnel, func() (netip.AddrPort, error) {
		_ = netsock.Unpace(fd) // else it is only slower
		if err := netsock.StartConnect(fd, to); err != nil {
			return netip.AddrPort{}, err
		}
		return netsock.LocalAddr(fd)
	})
	if err != nil {
		_ = unix.Close(fd)
		return nil, t, err
	}
	s := newSocket(fd, t.Local, t.Remote)
	if err := netsock.WaitConnect(ctx, s.File); err != nil {
		_ = s.Close()
		p.e.legs.Remove(t)
		return nil, t, fmt.Errorf("connect to %s: %w", to, err)
	}
	return s, t, nil
}

// clientHandshake proves both ends. The connection takes s over if it succeeds.
func (p *pod) clientHandshake(ctx context.Context, s *socket, own *identity.Cert, d engine.Dial) (*carrier, *engine.DialError) {
	p.Usage.Handshakes.Add(1)
	defer p.Usage.Handshakes.Add(-1)
	if n, most := p.Usage.Handshakes.Load(), p.Limits.Handshakes; most > 0 && n > most {
		return nil, &engine.DialError{Reason: reason.Limit, Err: errors.New("the pod's handshakes")}
	}
	cfg := p.e.verified.ClientConfig(func() (*identity.Cert, error) { return own, nil }, d.Peers, p.e.opts.Now)
	p.sessions.Client(cfg, own, &d)
	c, err := p.e.handshake(ctx, s, cfg, true)
	if err != nil {
		err = fmt.Errorf("handshake with %s: %w", d.To, err)
		if outcome.IsTimeout(err) {
			return nil, outcome.DialError(err)
		}
		return nil, &engine.DialError{Reason: outcome.TLSReason(err), Err: err}
	}
	c.p, c.own, c.peer.Roots = p, own, own.Roots
	c.until = trust.Earlier(trust.LeafUntil(own.Leaf), trust.LeafUntil(c.peer.Chain[0]))
	if soon := p.e.opts.Now().Add(useAtLeast); c.until.Before(soon) {
		c.until = soon
	}
	return c, nil
}

// cert waits for the pod's own certificate.
func (p *pod) cert(ctx context.Context) (*identity.Cert, error) {
	o := &p.e.opts
	return trust.Source{Certs: o.Certs, Wait: o.CertWait, Now: o.Now}.Cert(ctx, p.Identity)
}
