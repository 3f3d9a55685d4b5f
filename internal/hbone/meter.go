package hbone

import (
	"time"

	"golang.org/x/net/http2"
)

const (
	noiseRate  = 1000 // frames a second that carry nothing: PING, SETTINGS, empty DATA, unknown ones
	noiseBurst = 4000
	dataEarns  = 4    // further such frames (WINDOW_UPDATE) for each DATA frame that we send
	maxReplies = 1000 // answers that may wait for a peer that does not read
)

// meter is a token bucket for what a peer may make us do for nothing.
type meter struct {
	rate, burst, left float64
	last              time.Time
	now               func() time.Time
}

func newMeter(rate, burst float64, now func() time.Time) meter {
	return meter{rate: rate, burst: burst, left: burst, last: now(), now: now}
}

// take pays one token and reports whether there was one.
func (m *meter) take() bool {
	if m.left < 1 {
		now := m.now()
		m.left = min(m.burst, m.left+m.rate*now.Sub(m.last).Seconds())
		m.last = now
	}
	m.left--
	return m.left >= 0
}

func (m *meter) earn(n float64) { m.left = min(m.burst, m.left+n) }

// charge counts a frame that moved nothing. mu is held.
func (c *conn) charge(t http2.FrameType) error {
	if !c.noise.take() {
		return connError{http2.ErrCodeEnhanceYourCalm, "flood of " + t.String() + " frames"}
	}
	return nil
}

// chargeReply is charge for a frame that we answer: the answers that wait are bounded too.
func (c *conn) chargeReply(t http2.FrameType) error {
	if c.replies++; c.replies > maxReplies {
		return connError{http2.ErrCodeEnhanceYourCalm, "does not read our answers to " + t.String()}
	}
	return c.charge(t)
}

// chargeReset counts a stream that was opened in vain: reset before it was answered, refused, malformed.
func (c *conn) chargeReset() error {
	if !c.resets.take() {
		return connError{http2.ErrCodeEnhanceYourCalm, "flood of streams opened in vain"}
	}
	return nil
}
