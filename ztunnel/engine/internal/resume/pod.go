package resume

import (
	"crypto/tls"
	"strings"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Pod is the sessions of one pod. It is safe for concurrent use.
type Pod struct {
	node *Node

	mu     sync.Mutex
	closed bool
	set    *set // nil: none was asked for since the last was dropped
}

// Client has cfg, which is for one connection and shows own, resume a session with who is called, if
// there is one, and keep the one that the connection brings.
func (p *Pod) Client(cfg *tls.Config, own *identity.Cert, d *engine.Dial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.of(own); s != nil {
		c := &cache{p: p, set: s, key: key{strings.Join(d.Peers, "\x00"), d.To}}
		cfg.ClientSessionCache = c
		cfg.VerifyConnection = c.watch(cfg.VerifyConnection)
	}
}

// Server has cfg, which is for one connection and shows own, give tickets and take them.
func (p *Pod) Server(cfg *tls.Config, own *identity.Cert) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.of(own); s != nil {
		cfg.SessionTicketsDisabled = false
		cfg.SetSessionTicketKeys(s.tickets.at(p.node.now()))
	}
}

// of returns the set of a certificate, which from now on is the only one; nil: nothing is kept. mu is held.
func (p *Pod) of(own *identity.Cert) *set {
	if !p.node.on || p.closed {
		return nil
	}
	if !p.set.is(own) {
		p.drop()
		p.set = newSet(own)
	}
	return p.set
}

// Keep drops all that does not belong to own, the pod's certificate as it is now (nil: it has none), and
// what is too old.
func (p *Pod) Keep(own *identity.Cert, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.set == nil:
	case own == nil || !own.Valid(now) || !p.set.is(own):
		p.drop()
	default:
		p.set.expire(now)
	}
}

// Forget drops all: whoever has a session proves again who it is.
func (p *Pod) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
}

// Close drops all and keeps nothing more.
func (p *Pod) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	p.drop()
	p.node.pods.Add(-1)
}

func (p *Pod) drop() {
	if p.set != nil {
		p.set.tickets = tickets{}
		p.set = nil
	}
}

// take returns a client's session, which is nobody else's from then on.
func (p *Pod) take(s *set, k key) *tls.ClientSessionState {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set != s {
		return nil
	}
	return s.take(k, p.node.now())
}

// put keeps a client's session.
func (p *Pod) put(s *set, e entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set == s {
		s.put(e, p.node.share())
	}
}
