package hbone

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
	// OnBadRequest is told of each request that was answered 400 or 431 by the endpoint itself.
	OnBadRequest func(err error)
}

const (
	kib = 1 << 10
	mib = 1 << 20

	defaultServerStreams = 200
	defaultClientStreams = 100
	defaultStreamWindow  = 256 * kib
	defaultMaxWindow     = 4 * mib
	defaultMaxBuffered   = 16 * mib
	defaultMaxFrame      = 16 * kib
	defaultHeaderList    = 64 * kib
	defaultPingEvery     = 10 * time.Second
	defaultPingTimeout   = 20 * time.Second

	rfcWindow    = 65535     // initial windows before SETTINGS, RFC 9113 6.9.2
	rfcMaxFrame  = 16 * kib  // RFC 9113 4.2
	maxWindow    = 1<<31 - 1 // RFC 9113 6.9.1
	connPerChild = 4         // connection window over stream window
)

// withDefaults fills what is not set and mends what contradicts itself.
func (c Config) withDefaults(server bool) Config {
	streams := defaultClientStreams
	if server {
		streams = defaultServerStreams
	}
	c.MaxStreams = pick(c.MaxStreams, streams)
	c.StreamWindow = min(pick(c.StreamWindow, defaultStreamWindow), maxWindow/connPerChild)
	c.MaxStreamWindow = min(max(pick(c.MaxStreamWindow, defaultMaxWindow), c.StreamWindow), maxWindow/connPerChild)
	c.ConnWindow = max(c.ConnWindow, connPerChild*c.StreamWindow, rfcWindow)
	c.MaxBuffered = max(pick(c.MaxBuffered, defaultMaxBuffered), c.ConnWindow)
	c.MaxFrame = min(max(pick(c.MaxFrame, defaultMaxFrame), rfcMaxFrame), 1<<24-1)
	c.MaxHeaderList = pick(c.MaxHeaderList, defaultHeaderList)
	c.PingEvery = pick(c.PingEvery, defaultPingEvery)
	c.PingTimeout = pick(c.PingTimeout, defaultPingTimeout)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func pick[T int | time.Duration](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}
