package decide

import (
	"cmp"
	"net/netip"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// log writes the connection's line.
func (d *Decider) log(r *engine.Record, st *state) {
	refused := r.Reason != reason.None
	if !d.opts.AccessLog.Enabled(refused) {
		return
	}
	told := st.told()
	l := telemetry.Line{
		Time: r.Accepted.Add(r.Ended), Direction: direction(r), Path: Path(r),
		Sent: r.Sent.Load(), Received: r.Received.Load(), Duration: r.Ended, Attempts: int(r.Attempts),
		Refused: refused, Reason: string(r.Reason), Detail: cmp.Or(r.Detail, told.ended),
		Policy: cmp.Or(told.endedBy, r.Policy), DryRun: told.dryRun, Trace: r.Trace,
	}
	if r.Service != nil {
		l.Service = r.Service.Hostname
	}
	d.parties(r, &l)
	d.opts.AccessLog.Log(&l)
}

func (d *Decider) parties(r *engine.Record, l *telemetry.Line) {
	source, dest := d.identities(r)
	if l.Path == viaPlain.String() && r.Kind == engine.Outbound {
		dest = identity.ID{} // not verified
	}
	l.Source = d.logParty(r.From, source, r.Source)
	l.Dest = d.logParty(r.To, dest, r.Dest)
	target := addrOf(r.Target)
	switch {
	case r.Kind == engine.HBONE:
		l.HBONEAddr = target
	case l.Path == viaTunnel.String():
		l.HBONEAddr = target
		l.Dest.Addr = addrOf(netip.AddrPortFrom(r.Target.Addr(), hbonePort))
	case target != "":
		l.Dest.Addr = target
	}
	if r.Kind != engine.Outbound && r.To == nil { // refused before its record was there
		l.Dest.Workload, l.Dest.Namespace = r.Pod.Name, r.Pod.Namespace
	}
	if r.Kind == engine.Outbound && r.From == nil {
		l.Source.Workload, l.Source.Namespace = r.Pod.Name, r.Pod.Namespace
	}
}

func (d *Decider) logParty(w *mesh.Workload, id identity.ID, addr netip.AddrPort) telemetry.LogParty {
	p := telemetry.LogParty{Addr: addrOf(addr), Identity: d.uri(id), Namespace: id.Namespace}
	if w != nil {
		p.Workload, p.Namespace = w.Name, w.Namespace
	}
	return p
}

func addrOf(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
