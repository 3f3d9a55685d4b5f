package mux

import (
	"errors"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// clock is a clock that a test turns.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// until ticks an end when it is due, with step before, until it ends or the time is over.
func (c *clock) until(e *end, limit time.Duration, step func()) time.Duration {
	start := c.t
	for e.Err() == nil && c.t.Sub(start) < limit {
		c.t = e.Next()
		step()
		_ = e.Tick(c.t)
	}
	return c.t.Sub(start)
}

func TestPingTimeout(t *testing.T) {
	k := &clock{time.Unix(1, 0)}
	c := newEnd(false, hbone.Config{Now: k.now})
	_ = c.Receive(newRogue(false).take())
	if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
		t.Fatal(err)
	}
	took := k.until(c, time.Hour, func() { c.flush() }) // takes everything, answers nothing
	if !errors.Is(c.Err(), h2.ErrPingTimeout) || took < 30*time.Second || took > 40*time.Second {
		t.Errorf("after %v: %v", took, c.Err())
	}
	if !errors.Is(c.ev.errs[1], hbone.ErrConnLost) {
		t.Errorf("stream: %v", c.ev.errs[1])
	}
}

// TestStuckPeer: a peer that takes no byte is lost too, though it sends.
func TestStuckPeer(t *testing.T) {
	k := &clock{time.Unix(1, 0)}
	c := newEnd(false, hbone.Config{Now: k.now})
	r := newRogue(false)
	took := k.until(c, time.Hour, func() {
		_ = r.WriteWindowUpdate(0, 1)
		_ = c.Receive(r.take())
	})
	if !errors.Is(c.Err(), h2.ErrStuck) || took > 40*time.Second {
		t.Errorf("after %v: %v", took, c.Err())
	}
}

// TestSlowPeer: one that takes a little now and then lives.
func TestSlowPeer(t *testing.T) {
	k := &clock{time.Unix(1, 0)}
	c := newEnd(false, hbone.Config{Now: k.now})
	r := newRogue(false)
	k.until(c, time.Hour, func() {
		_ = r.WriteWindowUpdate(0, 1)
		_ = c.Receive(r.take())
		c.Sent(1)
	})
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

// TestQuietPeers ping each other and live.
func TestQuietPeers(t *testing.T) {
	k := &clock{time.Unix(1, 0)}
	cfg := hbone.Config{Now: k.now}
	c, s := pair(t, cfg, cfg)
	k.until(c, time.Hour, func() {
		_ = s.Tick(k.t)
		exchange(t, c, s)
	})
	if c.Err() != nil || s.Err() != nil {
		t.Errorf("live peers lost each other: %v, %v", c.Err(), s.Err())
	}
}

// TestSilentPeer: whoever does not even send SETTINGS is let go.
func TestSilentPeer(t *testing.T) {
	k := &clock{time.Unix(1, 0)}
	s := newEnd(true, hbone.Config{Now: k.now})
	took := k.until(s, time.Hour, func() { s.flush() })
	if !errors.Is(s.Err(), h2.ErrNoSettings) || took != 10*time.Second {
		t.Errorf("after %v: %v", took, s.Err())
	}
}

func TestIdle(t *testing.T) {
	k := &clock{time.Unix(1, 0)}
	c, s := pair(t, hbone.Config{Now: k.now}, hbone.Config{})
	st, _ := dial(t, c, s)
	if c.Idle() != 0 {
		t.Error("idle with a stream")
	}
	st.Close()
	k.t = k.t.Add(time.Minute)
	if got := c.Idle(); got != time.Minute {
		t.Errorf("idle for %v", got)
	}
}
