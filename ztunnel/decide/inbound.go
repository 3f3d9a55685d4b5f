package decide

import (
	"net/netip"

	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// inbound judges a plaintext connection to a pod.
func (d *Decider) inbound(r *engine.Record) engine.Plan {
	changed := d.opts.Store.Changed()
	snap := d.opts.Store.Snapshot()
	r.From, r.Target = snap.WorkloadAt(r.Source.Addr()), r.Dest
	e := admit(&visit{snap: snap, pod: r.Pod, from: r.Source.Addr(), target: r.Target})
	if e.own != nil {
		r.Service = onlyService(snap, e.own, r.Target.Port())
	}
	return d.enter(r, &e, changed)
}

// Connect implements engine.Decider.
func (d *Decider) Connect(r *engine.Record) engine.Plan {
	changed := d.opts.Store.Changed()
	snap := d.opts.Store.Snapshot()
	if r.Request == nil || r.Peer.IsZero() { // not to happen: without a verified peer there is no tunnel
		return d.refuse(r, refusal{reason.TLSFailure, "a tunnel without a verified peer"}, nil)
	}
	r.From = caller(snap, r)
	r.Trace = traceOf(r.Request.Traceparent)
	to, f := own(snap, r.Pod)
	if r.To = to; to == nil {
		return d.refuse(r, f, changed)
	}
	if r.Target, r.Service, f = authority(snap, to, r); !f.none() {
		return d.refuse(r, f, changed)
	}
	e := admit(&visit{snap: snap, pod: r.Pod, source: r.Peer, from: r.Source.Addr(), target: r.Target})
	p := d.enter(r, &e, changed)
	if p.Action == engine.Deliver {
		p.Header = d.responseOf(to)
	}
	return p
}

// enter notes the judgement in the record and makes the plan.
func (d *Decider) enter(r *engine.Record, e *entry, changed <-chan struct{}) engine.Plan {
	st := of(r)
	r.To, r.Policy = e.own, e.policy
	st.setDryRun(e.dryRun)
	p := engine.Plan{Action: engine.Deliver, Dial: engine.Dial{
		Action: engine.Deliver, To: r.Target, Pod: r.Pod, Source: r.Source.Addr(),
	}}
	if !e.none() {
		p = d.refuse(r, e.refusal, changed)
	}
	d.hit(p.Action, e)
	return p
}

// caller returns the workload behind a tunnel, for metrics and logs: the one at the TCP source address
// if it is of the identity that was verified.
func caller(snap *mesh.Snapshot, r *engine.Record) *mesh.Workload {
	if w := snap.WorkloadAt(r.Source.Addr()); w != nil && w.Identity == r.Peer {
		return w
	}
	return nil
}

// traceOf returns what a peer says of its trace, or "" if it says nothing or nonsense.
func traceOf(s string) string {
	if s == "" { // not an error: without tracing there is none
		return ""
	}
	if _, err := hbone.ParseTraceparent(s); err != nil {
		return ""
	}
	return s
}

// authority finds out what a tunnel wants: an address of the pod, or the name of a service that it
// belongs to, whose ports are mapped.
func authority(snap *mesh.Snapshot, to *mesh.Workload, r *engine.Record) (netip.AddrPort, *mesh.Service, refusal) {
	host, port, ip, isIP, err := hbone.ParseAuthority(r.Request.Authority)
	if err != nil {
		return netip.AddrPort{}, nil, refusal{reason.BadRequest, err.Error()}
	}
	if isIP {
		return netip.AddrPortFrom(ip, port), forwardedService(snap, to, r.Request.Forwarded), refusal{}
	}
	svc, target, ok := byHostname(snap, to, host, port)
	if !ok {
		return netip.AddrPort{}, nil, refusal{reason.Authority, "this pod does not serve " + hbone.FormatAuthority(host, port)}
	}
	addr := r.Dest.Addr()
	if !r.Pod.Owns(addr) {
		addr = to.Addrs[0]
	}
	return netip.AddrPortFrom(addr, target), svc, refusal{}
}

func (d *Decider) baggageOf(w *mesh.Workload) string {
	return d.baggage.get(w, func(w *mesh.Workload) string {
		return hbone.Baggage{
			Cluster: w.Cluster, Namespace: w.Namespace, WorkloadKind: w.WorkloadKind, WorkloadName: w.WorkloadName,
			ServiceName: w.CanonicalName, ServiceVersion: w.CanonicalRevision, Region: w.Region, Zone: w.Zone,
		}.Format()
	})
}

// responseOf returns the fields of the 200; the engine does not change them.
func (d *Decider) responseOf(w *mesh.Workload) []hpack.HeaderField {
	return d.response.get(w, func(w *mesh.Workload) []hpack.HeaderField {
		return []hpack.HeaderField{{Name: "baggage", Value: d.baggageOf(w)}}
	})
}
