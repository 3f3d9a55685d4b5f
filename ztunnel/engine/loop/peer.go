package loop

import (
	"context"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// acceptPeer begins to serve a connection of a peer. r is its record, of which only a failure is told.
func (e *Engine) acceptPeer(p *pod, fd int, r *engine.Record) {
	n := p.Usage.Tunnels.Add(1)
	s := newSocket(fd, r.Dest, r.Source)
	if most := p.Limits.Tunnels; most > 0 && n > most {
		e.failPeer(p, s, r, outcome.End{Reason: reason.Limit, Detail: "tunnel connections"})
		return
	}
	go e.servePeer(p, s, r)
}

func (e *Engine) servePeer(p *pod, s *socket, r *engine.Record) {
	c, why := e.peerHandshake(p, s)
	if why == nil {
		r.Peer, why = peerID(c)
	}
	if why != nil {
		e.failPeer(p, s, r, *why)
		return
	}
	c.p, c.of = p, r
	c.w = e.place(p.w)
	p.carry(c, true, func(error, *worker) {})
}

// peerID is who the peer is. Its certificate was verified, so this does not fail.
func peerID(c *carrier) (identity.ID, *outcome.End) {
	id, err := identity.PeerID(c.peer.Chain[0])
	if err != nil {
		_ = unix.Close(c.fd)
		return id, &outcome.End{Reason: reason.TLSFailure, Detail: err.Error()}
	}
	return id, nil
}

// peerHandshake proves both ends.
func (e *Engine) peerHandshake(p *pod, s *socket) (*carrier, *outcome.End) {
	n := p.Usage.Handshakes.Add(1)
	defer p.Usage.Handshakes.Add(-1)
	if most := p.Limits.Handshakes; most > 0 && n > most {
		return nil, &outcome.End{Reason: reason.Limit, Detail: "handshakes"}
	}
	own, err := p.cert(p.ctx)
	if err != nil {
		return nil, p.unlessGone(&outcome.End{Reason: reason.IdentityError, Detail: err.Error()})
	}
	ctx, cancel := context.WithTimeout(p.ctx, e.opts.HandshakeTimeout)
	defer cancel()
	cfg := e.verified.ServerConfig(own, e.opts.TrustDomain, e.opts.Now)
	p.sessions.Server(cfg, own)
	c, err := e.handshake(ctx, s, cfg, false)
	if err != nil {
		return nil, p.unlessGone(&outcome.End{Reason: outcome.TLSReason(err), Detail: "handshake: " + err.Error()})
	}
	c.peer.Roots = own.Roots
	return c, nil
}

// unlessGone is why, unless the pod is gone.
func (p *pod) unlessGone(why *outcome.End) *outcome.End {
	if gone := p.gone.Load(); gone != nil {
		return gone
	}
	return why
}

// failPeer ends a connection that never carried a tunnel.
func (e *Engine) failPeer(p *pod, s *socket, r *engine.Record, o outcome.End) {
	reset := o.Reason == reason.Limit || o.Reason == reason.PodGone || o.Reason == reason.Drain
	if !reset {
		s.linger()
	}
	r.TCPInfo = s.end(reset)
	e.report(r, o)
	p.Usage.Tunnels.Add(-1)
	e.finish(p)
}

const (
	lingerTime  = time.Second
	lingerReads = 16
)

// linger lets the peer read the alert that was sent: a close with unread data is a reset, which would
// overtake it.
func (s *socket) linger() {
	s.control(func(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) })
	_ = s.SetReadDeadline(time.Now().Add(lingerTime))
	buf := make([]byte, 4<<10)
	for range lingerReads {
		if _, err := s.Read(buf); err == io.EOF || err != nil {
			return
		}
	}
}

// end closes the socket in order, or by a reset.
func (s *socket) end(reset bool) (info engine.TCPInfo) {
	s.control(func(fd int) {
		info, _ = readInfo(fd)
		if !reset {
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
		}
	})
	_ = s.Close()
	return info
}

func (s *socket) control(f func(fd int)) {
	if raw, err := s.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
