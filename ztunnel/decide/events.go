package decide

import (
	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Established implements engine.Decider.
func (d *Decider) Established(r *engine.Record) {
	st := of(r)
	st.established = true
	// What opened the tunnel has been read, by both ends. It is a good part of an idle tunnel's memory.
	r.Request, r.Attempt.Dial.Request = nil, nil
	if st.hand != nil && d.opts.SameNode == Direct && d.opts.HandedOver != nil {
		d.opts.HandedOver(r.Pod, r.Dest)
	}
	t := d.opts.Telemetry
	if t == nil {
		return
	}
	t.Connect(legName(r.Attempt.Dial.Action), r.Attempt.Connected, r.Attempt.Handshake)
	l, both := d.reporter(r)
	t.Open(&st.flow, &l, r.Bytes)
	if both {
		l.Reporter = telemetry.Destination
		t.Open(&st.hand.flow, &l, r.Bytes)
	}
}

// legName is the connect histogram's label.
func legName(a engine.Action) string {
	switch a {
	case engine.Tunnel:
		return "tunnel"
	case engine.Deliver:
		return "deliver"
	}
	return "plain"
}

// Answered implements engine.Decider.
func (d *Decider) Answered(r *engine.Record) {
	st := of(r)
	st.answered = true
	st.lease.Report(balance.OK, "")
	if d.opts.Telemetry != nil {
		d.opts.Telemetry.FirstByte(direction(r), r.First)
	}
}

// Closed implements engine.Decider.
func (d *Decider) Closed(r *engine.Record) {
	st := of(r)
	st.give(ending(r, st))
	d.identify(r)
	d.count(r, st)
	d.log(r, st)
}

// ending is what the end of a connection says of its endpoint, if nothing has been said before.
func ending(r *engine.Record, st *state) balance.Outcome {
	switch {
	case !st.established: // whoever gave up, it was not for the endpoint: Dialed has told of that
		return balance.Neutral
	case st.answered, r.Reason == reason.None && r.Detail == "":
		return balance.OK
	case r.Reason == reason.TunnelLost, r.Reason == reason.None && r.Detail == engine.ResetByServer:
		return balance.EarlyReset
	}
	return balance.Neutral
}

// identify names the pod's own side of a record that ended before it was judged: a failed handshake.
func (d *Decider) identify(r *engine.Record) {
	side := &r.To
	if r.Kind == engine.Outbound {
		side = &r.From
	}
	if *side == nil {
		*side, _ = own(d.opts.Store.Snapshot(), r.Pod)
	}
}

func (d *Decider) count(r *engine.Record, st *state) {
	t := d.opts.Telemetry
	if t == nil {
		return
	}
	st.flow.Close()
	if st.hand != nil {
		st.hand.flow.Close()
	}
	if st.established {
		t.Ended(direction(r), r.Ended, r.TCPInfo.RTT, r.TCPInfo.Retransmits)
	}
	if r.Reason == reason.None {
		return
	}
	t.Refused(direction(r), r.Reason)
	l, both := d.reporter(r)
	l.Flags = telemetry.Flags(r.Reason, r.Attempt.Dial.Action == engine.Tunnel)
	t.Failed(&l)
	if both {
		l.Reporter = telemetry.Destination
		t.Failed(&l)
	}
}

// hit counts what policy decided, once it has.
func (d *Decider) hit(a engine.Action, e *entry) {
	if d.opts.Telemetry == nil || a == engine.Wait {
		return
	}
	if e.policy != "" {
		d.opts.Telemetry.PolicyHit(e.policy, e.none())
	}
	for _, p := range e.dryRun {
		d.opts.Telemetry.DryRunHit(p)
	}
}
