package h2

import (
	"time"
)

// Config holds the settings of one endpoint. The zero value means the defaults below.
type Config struct {
	// MaxStreams is how many tunnels may be open at once: announced by a server (default 200), and
	// the client's own bound beside its peer's (default 100).
	MaxStreams int
	// StreamWindow is the receive window a stream starts with, in bytes (default 256 KiB).
	StreamWindow int
	// MaxStreamWindow is what a stream's window may grow to while it is the bottleneck (default 4 MiB).
	MaxStreamWindow int
	// ConnWindow is the receive window of the connection, in bytes (default and minimum 4 x
	// StreamWindow). It grows with the streams' windows.
	ConnWindow int
	// MaxBuffered bounds the bytes received and not yet read, of all streams of the connection
	// together (default 16 MiB). Streams that are not read share it.
	MaxBuffered int
	// MaxFrame is the largest frame payload accepted, in bytes (default 16 KiB, RFC 9113 4.2).
	MaxFrame int
	// MaxHeaderList bounds a decoded header list, in bytes by RFC 9113 6.5.2 (default 64 KiB).
	MaxHeaderList int
	// PingEvery is the quiet time after which the peer is pinged (default 10 s).
	PingEvery time.Duration
	// PingTimeout is how long a ping may stay unanswered before the connection is lost (default 20 s).
	PingTimeout time.Duration
	// Now is the clock used for rates and Idle (default time.Now).
	Now func() time.Time
	// OnBadRequest is told of each request that was answered 400 or 431 by the endpoint itself (of
	// internal/hbone; the one for event loops tells its Handler).
	OnBadRequest func(err error)
}

const (
	kib = 1 << 10
	mib = 1 << 20

	// DefaultStreamWindow is the receive window a stream starts with, in bytes.
	DefaultStreamWindow = 256 * kib

	defaultServerStreams = 200
	defaultClientStreams = 100
	defaultMaxWindow     = 4 * mib
	defaultMaxBuffered   = 16 * mib
	defaultMaxFrame      = 16 * kib
	defaultHeaderList    = 64 * kib
	defaultPingEvery     = 10 * time.Second
	defaultPingTimeout   = 20 * time.Second
)

// What RFC 9113 fixes, and what the endpoints share beside their settings.
const (
	RFCWindow   = 65535     // initial windows before SETTINGS (6.9.2)
	RFCMaxFrame = 16 * kib  // 4.2
	MaxWindow   = 1<<31 - 1 // 6.9.1
	HpackTable  = 4 * kib   // of either direction (6.5.2's default)
	FrameHeader = 9         // 4.1

	// MaxData is the payload of a DATA frame that fills a 16 KiB TLS record with its header.
	MaxData = 16375
	// FinalAfter bounds how long a server that leaves still takes streams sent before its peer knew.
	FinalAfter = time.Second

	connPerChild = 4        // connection window over stream window
	frameBudget  = 32 * kib // see Config.Budget
)

// WithDefaults fills what is not set and mends what contradicts itself.
func (c Config) WithDefaults(server bool) Config {
	streams := defaultClientStreams
	if server {
		streams = defaultServerStreams
	}
	c.MaxStreams = pick(c.MaxStreams, streams)
	c.StreamWindow = min(pick(c.StreamWindow, DefaultStreamWindow), MaxWindow/connPerChild)
	c.MaxStreamWindow = min(max(pick(c.MaxStreamWindow, defaultMaxWindow), c.StreamWindow), MaxWindow/connPerChild)
	c.ConnWindow = max(c.ConnWindow, connPerChild*c.StreamWindow, RFCWindow)
	c.MaxBuffered = max(pick(c.MaxBuffered, defaultMaxBuffered), c.ConnWindow)
	c.MaxFrame = min(max(pick(c.MaxFrame, defaultMaxFrame), RFCMaxFrame), 1<<24-1)
	c.MaxHeaderList = pick(c.MaxHeaderList, defaultHeaderList)
	c.PingEvery = pick(c.PingEvery, defaultPingEvery)
	c.PingTimeout = pick(c.PingTimeout, defaultPingTimeout)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Budget bounds the bytes of one frame beside DATA, or of one header block with all its CONTINUATION
// frames: it ends a header block that never ends, empty CONTINUATION frames included.
func (c Config) Budget() int { return 2*c.MaxHeaderList + c.MaxFrame + frameBudget }

func pick[T int | time.Duration](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}
