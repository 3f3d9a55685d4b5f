package mux

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// alive is what finds a dead peer: every PingEvery Tick looks whether frames came, and pings if none
// did. Any frame counts as a sign of life.
type alive struct {
	lookAt  time.Time // of the next look
	frames  uint64    // received
	seen    uint64    // frames at the last look
	pingAt  time.Time // when the open ping was sent; zero if none is
	ping    [8]byte
	helloAt time.Time // when our SETTINGS were sent; zero once acknowledged
	sent    uint64    // bytes that the socket took
	wrote   uint64    // sent at the last look
	stuckAt time.Time // since when bytes wait and none was taken; zero if none wait
	owed    int       // bytes to be sent before our answers are on their way
}

// Next returns when Tick is due.
func (c *Conn) Next() time.Time {
	if c.leaving && !c.final && c.finalAt.Before(c.lookAt) {
		return c.finalAt
	}
	return c.lookAt
}

// Tick does what is due by now: pings, the end of a peer that is dead, the second step of a drain. Once
// the connection has ended it returns why, as Err does.
func (c *Conn) Tick(now time.Time) error {
	if c.leaving && !c.final && !now.Before(c.finalAt) {
		c.lastGoAway()
	}
	if c.err == nil && !now.Before(c.lookAt) {
		c.lookAt = now.Add(c.cfg.PingEvery)
		if err := c.look(now); err != nil {
			c.end(h2.Lost(err), nil)
		}
	}
	c.settle()
	return c.err
}

// Sent says that the socket took n bytes of what was in Out, counted as Out.Buffered does. It is to be
// called for each write, or peers that read are taken for ones that do not.
func (c *Conn) Sent(n int) {
	c.sent += uint64(n)
	if c.owed > 0 {
		if c.owed -= n; c.owed <= 0 {
			c.meters.Replied()
		}
	}
}

// chargeReply counts a frame that we answer.
func (c *Conn) chargeReply(t http2.FrameType) error {
	if c.owed <= 0 {
		c.owed = c.out.Buffered() + 1
	}
	return c.meters.ChargeReply(t)
}

// look says whether the peer is dead, and pings it if it is quiet.
func (c *Conn) look(now time.Time) error {
	quiet := c.frames == c.seen
	c.seen = c.frames
	if !c.peer.Known {
		return h2.ErrNoSettings
	}
	if c.stuck(now) {
		return h2.ErrStuck
	}
	switch {
	case !quiet && !c.pingAt.IsZero():
		c.pingAt = now
	case !quiet:
	case c.pingAt.IsZero():
		c.sendPing(now)
	case now.Sub(c.pingAt) >= c.cfg.PingTimeout:
		return h2.ErrPingTimeout
	}
	return nil
}

// stuck reports whether the peer has taken nothing of what waits for PingTimeout.
func (c *Conn) stuck(now time.Time) bool {
	waits := c.out.Buffered() > 0
	if !waits || c.sent != c.wrote || c.stuckAt.IsZero() {
		c.wrote, c.stuckAt = c.sent, time.Time{}
		if waits {
			c.stuckAt = now
		}
		return false
	}
	return now.Sub(c.stuckAt) >= c.cfg.PingTimeout
}

func (c *Conn) sendPing(now time.Time) {
	binary.BigEndian.PutUint64(c.ping[:], rand.Uint64())
	c.pingAt = now
	_ = c.fr.WritePing(false, c.ping)
}

// probe pings to learn the round trip, unless a ping is under way.
func (c *Conn) probe() {
	if c.pingAt.IsZero() {
		c.sendPing(c.cfg.Now())
	}
}

func (c *Conn) onPing(f *http2.PingFrame) error {
	if !f.IsAck() {
		if err := c.chargeReply(f.Type); err != nil {
			return err
		}
		_ = c.fr.WritePing(true, f.Data)
		return nil
	}
	switch {
	case !c.pingAt.IsZero() && f.Data == c.ping:
		c.inflow.Sample(c.cfg.Now().Sub(c.pingAt))
		c.pingAt = time.Time{}
	case c.leaving && !c.final && f.Data == c.drainPing:
		c.lastGoAway()
	}
	return c.meters.Charge(f.Type)
}
