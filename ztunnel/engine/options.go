package engine

import (
	"cmp"
	"log/slog"
	"runtime"
	"time"
)

// WatchMost is how long an event loop looks for an answer, unless Options say otherwise. Longer answers are
// worth a sleep.
const WatchMost = 50 * time.Microsecond

// Options say whom an engine serves. Decider, Certs and TrustDomain are required.
type Options struct {
	Decider     Decider
	Certs       Certs
	TrustDomain string // peers of another one are refused

	Log *slog.Logger     // default: discards
	Now func() time.Time // default: time.Now

	DialTimeout      time.Duration // of an attempt whose Dial names none (10 s)
	HandshakeTimeout time.Duration // of a peer's TLS handshake (10 s)
	CertWait         time.Duration // for a certificate that is not there yet (5 s)
	IdleTunnel       time.Duration // after which an unused pooled connection is closed (5 min)

	Resume    bool                       // TLS sessions, in both roles
	Handshake func(client, resumed bool) // is told of each TLS handshake that has succeeded; nil: nobody is

	// Watch is how long a loop may look for an answer instead of sleeping, of an engine that has loops
	// (WatchMost; below 0: never). It does so only while questions and answers take turns.
	Watch time.Duration

	Loops int // event loops, of an engine that has them (one for each CPU that Go uses)
}

// WithDefaults fills what is not set.
func (o Options) WithDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Handshake == nil {
		o.Handshake = func(_, _ bool) {}
	}
	o.DialTimeout = cmp.Or(max(o.DialTimeout, 0), 10*time.Second)
	o.HandshakeTimeout = cmp.Or(max(o.HandshakeTimeout, 0), 10*time.Second)
	o.CertWait = cmp.Or(max(o.CertWait, 0), 5*time.Second)
	o.IdleTunnel = cmp.Or(max(o.IdleTunnel, 0), 5*time.Minute)
	o.Watch = max(cmp.Or(o.Watch, WatchMost), 0)
	o.Loops = cmp.Or(max(o.Loops, 0), runtime.GOMAXPROCS(0))
	return o
}

// Within is how long an attempt may take.
func (o Options) Within(d Dial) time.Duration { return cmp.Or(max(d.Timeout, 0), o.DialTimeout) }
