package decide

import (
	"net/netip"
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Tally is what the kernel has counted of a ruling's connections to one place since the last time. Bytes
// are as the caller sees them.
type Tally struct{ Opened, Closed, Failed, Sent, Received uint64 }

// Count counts connections that went past the proxy as if they had not.
func (d *Decider) Count(r *Ruling, p *Place, n Tally) {
	t := d.opts.Telemetry
	if t == nil {
		return
	}
	l, both := d.reporter(record(r, p))
	n.count(t, l)
	if both {
		l.Reporter = telemetry.Destination
		n.count(t, l)
	}
	if p.Policy == "" {
		return
	}
	for range n.Opened {
		t.PolicyHit(p.Policy, true)
	}
}

func (n *Tally) count(t *telemetry.Telemetry, l telemetry.Labels) {
	t.Count(&l, n.Opened, n.Closed, n.Sent, n.Received)
	l.Flags = telemetry.Flags(reason.ConnectRefused, false)
	for range n.Failed {
		t.Failed(&l)
	}
}

// Logs reports whether connections that end in good order have lines in the access log.
func (d *Decider) Logs() bool { return d.opts.AccessLog.Enabled(false) }

// Carried is a connection that the kernel carries, or carried to its end. Bytes are as the caller sees them.
type Carried struct {
	ID             uint64
	To             netip.AddrPort // that was called
	Port           uint16         // the caller's
	At             time.Time      // its end, or now
	Life           time.Duration  // until At
	Sent, Received uint64
}

// RecordOf is what such a connection would be that goes through the proxy.
func RecordOf(r *Ruling, p *Place, c Carried) *engine.Record {
	rec := record(r, p)
	rec.ID, rec.Dest, rec.Attempts, rec.Policy = c.ID, c.To, 1, p.Policy
	rec.Source = netip.AddrPortFrom(sourceFor(r.Caller, netip.Addr{}, p.At.Addr()), c.Port)
	rec.Accepted, rec.Ended, rec.Detail = c.At.Add(-c.Life), c.Life, "past the proxy"
	rec.Sent.Store(c.Sent)
	rec.Received.Store(c.Received)
	return rec
}

func record(r *Ruling, p *Place) *engine.Record {
	return &engine.Record{
		Kind: engine.Outbound, Pod: r.Caller, From: r.From, To: p.To, Service: r.Service, Target: p.At,
		Attempt: engine.Attempt{Dial: engine.Dial{Action: engine.Deliver, To: p.At, Pod: p.Pod}},
		State:   &state{path: viaHandOver, hand: &hand{pod: p.Pod}},
		Bytes:   &telemetry.Bytes{},
	}
}

// Ended writes the line of a connection that went past the proxy.
func (d *Decider) Ended(r *engine.Record) { d.log(r, of(r)) }
