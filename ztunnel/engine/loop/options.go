package loop

import (
	"log/slog"
	"runtime"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Options say whom the engine serves. Decider, Certs and TrustDomain are required.
type Options struct {
	Decider     engine.Decider
	Certs       engine.Certs
	TrustDomain string // peers of another one are refused

	Log *slog.Logger     // default: discards
	Now func() time.Time // default: time.Now

	DialTimeout      time.Duration // of an attempt whose Dial names none (10 s)
	HandshakeTimeout time.Duration // of a peer's TLS handshake (10 s)
	CertWait         time.Duration // for a certificate that is not there yet (5 s)
	IdleTunnel       time.Duration // after which an unused pooled connection is closed (5 min)

	Resume    bool                       // TLS sessions, in both roles
	Handshake func(client, resumed bool) // is told of each TLS handshake that has succeeded; nil: nobody is

	Loops int // event loops (one for each CPU that Go uses)
}

const (
	defaultDialTimeout      = 10 * time.Second
	defaultHandshakeTimeout = 10 * time.Second
	defaultCertWait         = 5 * time.Second
	defaultIdleTunnel       = 5 * time.Minute
)

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Handshake == nil {
		o.Handshake = func(_, _ bool) {}
	}
	o.DialTimeout = positive(o.DialTimeout, defaultDialTimeout)
	o.HandshakeTimeout = positive(o.HandshakeTimeout, defaultHandshakeTimeout)
	o.CertWait = positive(o.CertWait, defaultCertWait)
	o.IdleTunnel = positive(o.IdleTunnel, defaultIdleTunnel)
	o.Loops = positive(o.Loops, runtime.GOMAXPROCS(0))
	return o
}

func positive[T int | time.Duration](d, otherwise T) T {
	if d > 0 {
		return d
	}
	return otherwise
}
