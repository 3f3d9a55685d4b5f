package h2

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

// Meters hold a peer against what it may make us do for nothing. Its methods return a ConnError with
// ENHANCE_YOUR_CALM when that was too much.
type Meters struct {
	noise   meter // frames that carry nothing
	resets  meter // streams that were opened in vain
	replies int   // answers to PING and SETTINGS that wait to be sent
}

// NewMeters returns the meters of a connection with the settings, defaults filled in.
func NewMeters(cfg *Config) Meters {
	return Meters{noise: newMeter(noiseRate, noiseBurst, cfg.Now),
		resets: newMeter(float64(cfg.MaxStreams), float64(4*cfg.MaxStreams), cfg.Now)}
}

// Charge counts a frame that moved nothing.
func (m *Meters) Charge(t http2.FrameType) error {
	if !m.noise.take() {
		return ConnError{http2.ErrCodeEnhanceYourCalm, "flood of " + t.String() + " frames"}
	}
	return nil
}

// ChargeReply is Charge for a frame that we answer: the answers that wait are bounded too.
func (m *Meters) ChargeReply(t http2.FrameType) error {
	if m.replies++; m.replies > maxReplies {
		return ConnError{http2.ErrCodeEnhanceYourCalm, "does not read our answers to " + t.String()}
	}
	return m.Charge(t)
}

// Replied says that the answers are on their way.
func (m *Meters) Replied() { m.replies = 0 }

// ChargeReset counts a stream that was opened in vain: reset before it was answered, refused, malformed.
func (m *Meters) ChargeReset() error {
	if !m.resets.take() {
		return ConnError{http2.ErrCodeEnhanceYourCalm, "flood of streams opened in vain"}
	}
	return nil
}

// SentData earns the peer the WINDOW_UPDATE frames for a DATA frame that it was sent.
func (m *Meters) SentData() { m.noise.earn(dataEarns) }
