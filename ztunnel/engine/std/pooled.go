package std

import (
	"slices"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/trust"
)

// target is one place that is connected to.
type target struct {
	conns []*pooled // that take tunnels, the oldest first
	dial  *dialing  // one at a time; nil: none
}

// dialing is a connection in the making.
type dialing struct {
	done      chan struct{} // closed when the rest is set
	conn      *pooled
	err       *engine.DialError
	connected time.Duration
	handshake time.Duration
}

// pooled is one connection.
type pooled struct {
	cc    *hbone.ClientConn
	own   *identity.Cert
	peer  trust.Peer
	until time.Time // takes no tunnels from then on
}

// pick returns the newest connection with room, and retires those that are not to be used again.
func (t *target) pick(now time.Time, newest *identity.Cert) (found *pooled) {
	t.conns = slices.DeleteFunc(t.conns, func(c *pooled) bool { return c.retire(now, newest) })
	for _, c := range slices.Backward(t.conns) {
		if c.cc.Room() > 0 {
			return c
		}
	}
	return nil
}

// retire reports whether the connection is of no more use, and if so says goodbye: it ends, broken, near
// the end of a certificate, or made with one that has a successor.
func (c *pooled) retire(now time.Time, newest *identity.Cert) bool {
	superseded := newest != nil && newest != c.own && !newest.Leaf.Equal(c.own.Leaf) && newest.Valid(now)
	if !c.dead() && now.Before(c.until) && !superseded {
		return false
	}
	c.cc.GoAway()
	return true
}

func (c *pooled) dead() bool { return c.cc.Err() != nil }
