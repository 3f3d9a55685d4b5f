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

// server is one connection of a peer to the pod.
type server struct {
	conn    *hbone.ServerConn
	peer    trust.Peer
	id      identity.ID
	expires time.Time // the end of the peer's certificate
	ctx     context.Context
}

// serveTunnels lives as long as a peer's connection. r is its record, of which only a failure is told.
func (e *Engine) serveTunnels(p *pod, from *tcpLeg, r *engine.Record) {
	releaseTunnel, ok := gate.Take(&p.Usage.Tunnels, p.Limits.Tunnels)
	defer releaseTunnel()
	if !ok {
		e.fail(from, r, outcome.End{Reason: reason.Limit, Detail: "tunnel connections"})
		return
	}
	s, why := e.handshake(p, from, r)
	if why != nil {
		e.fail(from, r, *why)
		return
	}
	defer from.close()
	defer s.conn.Close()
	if !p.addServer(s) {
		return
	}
	defer p.dropServer(s)
	if e.draining.Load() {
		s.conn.GoAway()
	}
	e.acceptTunnels(p, s, r)
}

// fail ends a connection that never carried a tunnel.
func (e *Engine) fail(from *tcpLeg, r *engine.Record, o outcome.End) {
	if o.Reason == reason.Limit || o.Reason == reason.PodGone || o.Reason == reason.Drain {
		from.cut()
	} else {
		linger(from)
	}
	r.TCPInfo = from.info
	e.report(r, o)
}

// linger closes a connection so that the peer can read the alert that was sent: a close with unread
// data is a reset, which would overtake it.
func linger(l *tcpLeg) {
	_ = l.CloseWrite()
	_ = l.SetReadDeadline(time.Now().Add(lingerTime))
	buf := make([]byte, 4<<10)
	for range lingerReads {
		if _, err := l.Read(buf); err != nil {
			break
		}
	}
	l.close()
}

const (
	lingerTime  = time.Second
	lingerReads = 16
)

// handshake proves both ends.
func (e *Engine) handshake(p *pod, from *tcpLeg, r *engine.Record) (*server, *outcome.End) {
	release, ok := gate.Take(&p.Usage.Handshakes, p.Limits.Handshakes)
	defer release()
	if !ok {
		return nil, &outcome.End{Reason: reason.Limit, Detail: "handshakes"}
	}
	own, err := e.cert(p.ctx, p.Identity)
	if err != nil {
		return nil, e.gone(p, &outcome.End{Reason: reason.IdentityError, Detail: err.Error()})
	}
	ctx, cancel := context.WithTimeout(p.ctx, e.opts.HandshakeTimeout)
	defer cancel()
	conf := identity.ServerConfig(own, e.opts.TrustDomain, e.opts.Now)
	p.sessions.Server(conf, own)
	tc := tls.Server(from, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, e.gone(p, &outcome.End{Reason: outcome.TLSReason(err), Detail: "handshake: " + err.Error()})
	}
	state := tc.ConnectionState()
	e.opts.Handshake(false, state.DidResume)
	chain := state.PeerCertificates
	id, err := identity.PeerID(chain[0])
	if err != nil {
		return nil, &outcome.End{Reason: reason.TLSFailure, Detail: err.Error()}
	}
	s := &server{peer: trust.Peer{Chain: chain, Roots: own.Roots}, id: id, expires: chain[0].NotAfter}
	cfg := gate.Queue(p.Pod, p.e.opts.Now)
	cfg.OnBadRequest = func(err error) { e.badRequest(p, s, r, err) }
	s.conn = hbone.NewServer(tc, cfg)
	return s, nil
}

// gone is why, unless the pod is.
func (e *Engine) gone(p *pod, why *outcome.End) *outcome.End {
	if p.ctx.Err() != nil {
		o := outcome.Of(p.ctx)
		return &o
	}
	return why
}

// badRequest tells of a request that was answered 400: a record that nobody was asked about.
func (e *Engine) badRequest(p *pod, s *server, of *engine.Record, err error) {
	r := e.tunnelRecord(p, s, of)
	e.report(r, outcome.End{Reason: reason.BadRequest, Detail: err.Error()})
}

func (e *Engine) tunnelRecord(p *pod, s *server, of *engine.Record) *engine.Record {
	r := e.record(p, engine.HBONE, e.opts.Now())
	r.Source, r.Dest, r.Peer = of.Source, of.Dest, s.id
	return r
}

// acceptTunnels serves the peer's tunnels until its connection ends.
func (e *Engine) acceptTunnels(p *pod, s *server, of *engine.Record) {
	ctx, cancel := context.WithCancelCause(context.Background())
	s.ctx = ctx
	for {
		st, err := s.conn.Accept()
		if err != nil {
			cancel(lostPeer(err))
			return
		}
		done, ok := e.begin(p)
		if !ok {
			_ = st.Close()
			continue
		}
		r := e.tunnelRecord(p, s, of)
		r.Request = st.Request()
		p.Usage.LastAccept.Store(r.Accepted.UnixNano())
		f := e.newFlow(p, r, &streamLeg{Stream: st})
		f.peer, f.over = s, s.conn
		go func() { defer done(); f.run() }()
	}
}

func lostPeer(err error) *outcome.End {
	if errors.Is(err, hbone.ErrGone) {
		return &outcome.End{Reason: reason.TunnelLost, Detail: "the peer has left"}
	}
	return &outcome.End{Reason: reason.TunnelLost, Detail: fmt.Sprintf("the peer's connection: %v", err)}
}
