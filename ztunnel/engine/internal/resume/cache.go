package resume

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine/internal/trust"
)

// cache is the tls.ClientSessionCache of one connection. crypto/tls's key, a name or an address, says too
// little; this one knows who is called. One goroutine at a time uses it.
type cache struct {
	p   *Pod
	set *set
	key key
	// Of what the connection brings; set once its peer is verified.
	until time.Time
	room  int // for the ticket, in bytes
}

// Get takes the session out.
func (c *cache) Get(string) (*tls.ClientSessionState, bool) {
	state := c.p.take(c.set, c.key)
	return state, state != nil
}

// Put keeps a session that has come. crypto/tls puts nil for one that it does not like: it is out already.
func (c *cache) Put(_ string, state *tls.ClientSessionState) {
	ticket, _, err := state.ResumptionState() // of nil too
	if err == nil && state != nil && len(ticket) <= c.room && c.p.node.now().Before(c.until) {
		c.p.put(c.set, entry{c.key, state, c.until})
	}
}

// watch looks at the peer after verify has.
func (c *cache) watch(verify func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if err := verify(s); err != nil {
			return err
		}
		c.until, c.room = c.life(s.PeerCertificates), mostKept
		for _, cert := range s.PeerCertificates {
			c.room -= len(cert.Raw)
		}
		return nil
	}
}

// life is until when a session with a peer may be used: while nobody's certificate is near its end, when
// connections are not used either.
func (c *cache) life(chain []*x509.Certificate) time.Time {
	until := trust.Earlier(c.p.node.now().Add(longest), trust.LeafUntil(c.set.own.Leaf))
	for _, cert := range chain {
		until = trust.Earlier(until, trust.LeafUntil(cert))
	}
	return until
}
