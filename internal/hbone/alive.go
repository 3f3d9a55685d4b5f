package hbone

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// alive is what finds a dead peer: a timer that looks every PingEvery whether frames came, and pings
// if none did. Any frame counts as a sign of life.
type alive struct {
	ticker  *time.Timer
	seen    uint64    // frames at the last look
	pingAt  time.Time // when the open ping was sent; zero if none is
	ping    [8]byte
	helloAt time.Time // when our SETTINGS were sent; zero once acknowledged
	wrote   uint64    // batches at the last look
	stuckAt time.Time // since when one write has been going on; zero if none is
}

func (c *conn) watch() { c.ticker = time.AfterFunc(c.cfg.PingEvery, c.tick) }

func (c *conn) stopTimers() {
	c.ticker.Stop()
	if c.finalTimer != nil {
		c.finalTimer.Stop()
	}
}

func (c *conn) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if err := c.look(c.cfg.Now()); err != nil {
		c.end(h2.Lost(err), nil)
		return
	}
	c.ticker.Reset(c.cfg.PingEvery)
}

// look says whether the peer is dead, and pings it if it is quiet.
func (c *conn) look(now time.Time) error {
	frames := c.frames.Load()
	quiet := frames == c.seen
	c.seen = frames
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

// stuck reports whether one write to the connection has lasted for PingTimeout.
func (c *conn) stuck(now time.Time) bool {
	if !c.writing || c.batches != c.wrote || c.stuckAt.IsZero() {
		c.wrote, c.stuckAt = c.batches, time.Time{}
		if c.writing {
			c.stuckAt = now
		}
		return false
	}
	return now.Sub(c.stuckAt) >= c.cfg.PingTimeout
}

func (c *conn) sendPing(now time.Time) {
	binary.BigEndian.PutUint64(c.ping[:], rand.Uint64())
	c.pingAt = now
	_ = c.fr.WritePing(false, c.ping)
	c.wake()
}

// probe pings to learn the round trip, unless a ping is under way.
func (c *conn) probe() {
	if c.pingAt.IsZero() {
		c.sendPing(c.cfg.Now())
	}
}

func (c *conn) onPing(f *http2.PingFrame) error {
	if !f.IsAck() {
		if err := c.meters.ChargeReply(f.Type); err != nil {
			return err
		}
		_ = c.fr.WritePing(true, f.Data)
		c.wake()
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
