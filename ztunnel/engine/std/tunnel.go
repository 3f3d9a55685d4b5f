package std

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/gate"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/trust"
)

// openTries is how often a tunnel is opened before its attempt has failed. Nothing was sent through it
// before its 200, so opening it again is unseen but for a connection without a byte.
const openTries = 3

// useAtLeast is how long a connection serves those who waited for it, however old a certificate is.
const useAtLeast = time.Second

// tunnel opens a tunnel on a pooled connection.
func (f *flow) tunnel(ctx context.Context, d engine.Dial) (leg, *engine.DialError) {
	for try := 1; ; {
		c, fresh, derr := f.p.pool.get(ctx, d, &f.rec.Attempt)
		if derr != nil {
			return nil, derr
		}
		s, status, err := open(ctx, c.cc, d.Request)
		switch {
		case err == nil && status == 200:
			f.over = c.cc
			return &streamLeg{Stream: s}, nil
		case err == nil:
			_ = s.Close()
			return nil, outcome.StatusError(status)
		case errors.Is(err, hbone.ErrNoRoom) && ctx.Err() == nil:
			continue // another flow was quicker
		case try == openTries || ctx.Err() != nil || !again(err, fresh):
			return nil, outcome.OpenError(err)
		}
		f.p.pool.discard(c)
		try++
	}
}

// again reports whether the peer did not act on the stream, or the connection died of age.
func again(err error, fresh bool) bool {
	if outcome.Is(err, hbone.ErrRefused, hbone.ErrGone) {
		return true
	}
	return !fresh && errors.Is(err, hbone.ErrConnLost)
}

// open returns the stream if there was an answer.
func open(ctx context.Context, cc *hbone.ClientConn, r *hbone.Request) (*hbone.Stream, int, error) {
	s, err := cc.Open(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	status, _, err := s.WaitResponse(ctx)
	if err != nil {
		_ = s.Close()
		return nil, 0, err
	}
	return s, status, nil
}

// dial makes a connection for the pool. It counts it; forget uncounts it.
func (l *pool) dial(ctx context.Context, d engine.Dial, w *dialing) (*pooled, *engine.DialError) {
	p := l.p
	own, err := p.e.cert(ctx, p.Identity)
	if err != nil {
		return nil, &engine.DialError{Reason: reason.IdentityError, Err: err}
	}
	release, ok := gate.Take(&p.Usage.Tunnels, p.Limits.Tunnels)
	if !ok {
		release()
		return nil, &engine.DialError{Reason: reason.Limit, Err: errors.New("the pod's tunnel connections")}
	}
	start := p.e.opts.Now()
	tcp, err := p.e.connect(ctx, p, d, 0)
	w.connected = p.e.opts.Now().Sub(start)
	if err != nil {
		release()
		return nil, outcome.DialError(err)
	}
	c, derr := l.handshake(ctx, tcp, own, d, w)
	if derr != nil {
		tcp.close()
		release()
	}
	return c, derr
}

func (l *pool) handshake(ctx context.Context, tcp *tcpLeg, own *identity.Cert, d engine.Dial, w *dialing) (*pooled, *engine.DialError) {
	p := l.p
	release, ok := gate.Take(&p.Usage.Handshakes, p.Limits.Handshakes)
	defer release()
	if !ok {
		return nil, &engine.DialError{Reason: reason.Limit, Err: errors.New("the pod's handshakes")}
	}
	start := p.e.opts.Now()
	cfg := identity.ClientConfig(func() (*identity.Cert, error) { return own, nil }, d.Peers, p.e.opts.Now)
	p.sessions.Client(cfg, own, &d)
	tc := tls.Client(tcp, cfg)
	err := tc.HandshakeContext(ctx)
	w.handshake = p.e.opts.Now().Sub(start)
	if err != nil {
		err = fmt.Errorf("handshake with %s: %w", d.To, err)
		if outcome.IsTimeout(err) {
			return nil, outcome.DialError(err)
		}
		return nil, &engine.DialError{Reason: outcome.TLSReason(err), Err: err}
	}
	cc, err := hbone.NewClient(tc, gate.Queue(p.Pod, p.e.opts.Now))
	if err != nil {
		return nil, &engine.DialError{Reason: reason.TLSFailure, Err: err}
	}
	state := tc.ConnectionState()
	p.e.opts.Handshake(true, state.DidResume)
	chain := state.PeerCertificates
	until := trust.Earlier(trust.LeafUntil(own.Leaf), trust.LeafUntil(chain[0]))
	if soon := p.e.opts.Now().Add(useAtLeast); until.Before(soon) {
		until = soon
	}
	return &pooled{cc: cc, own: own, peer: trust.Peer{Chain: chain, Roots: own.Roots}, until: until}, nil
}
