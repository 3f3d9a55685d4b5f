package decide

import (
	"net/netip"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// outbound judges a connection from a pod.
func (d *Decider) outbound(r *engine.Record) engine.Plan {
	changed := d.opts.Store.Changed() // before the snapshot: else a change between the two is missed
	snap := d.opts.Store.Snapshot()
	st := of(r)
	from, f := own(snap, r.Pod)
	if r.From = from; from == nil {
		return d.refuse(r, f, changed)
	}
	rt := d.route(d.call(snap, r, st))
	return d.follow(r, st, &rt, changed)
}

func (d *Decider) call(snap *mesh.Snapshot, r *engine.Record, st *state) *call {
	return &call{snap: snap, pod: r.Pod, from: r.From, source: r.Source.Addr(), dest: r.Dest, tried: st.told().tried,
		node: d.opts.Node, pick: d.opts.Balancer.Pick}
}

// follow notes the route in the record and makes the plan.
func (d *Decider) follow(r *engine.Record, st *state, rt *route, changed <-chan struct{}) engine.Plan {
	r.To, r.Service, r.Target = rt.to, rt.service, rt.target
	r.Policy = rt.entry.policy
	st.setDryRun(rt.entry.dryRun)
	st.path, st.hand, st.lease = rt.path, handOf(rt.pod), rt.lease
	if r.Trace == "" {
		r.Trace = hbone.NewTraceparent(d.opts.Random).String()
	}
	var p engine.Plan
	if rt.none() {
		p = engine.Plan{Action: actionOf(rt.path), Dial: d.dial(r, rt)}
	} else {
		st.lease.Release() // the endpoint was not even called
		st.lease = nil
		p = d.refuse(r, rt.refusal, changed)
	}
	d.hit(p.Action, &rt.entry)
	return p
}

func actionOf(p path) engine.Action {
	switch p {
	case viaTunnel:
		return engine.Tunnel
	case viaHandOver:
		return engine.Deliver
	}
	return engine.Plain
}

func (d *Decider) dial(r *engine.Record, rt *route) engine.Dial {
	switch rt.path {
	case viaTunnel:
		return engine.Dial{
			Action:  engine.Tunnel,
			To:      netip.AddrPortFrom(rt.target.Addr(), hbonePort),
			Peers:   d.peersOf(rt.to, rt.service),
			Request: d.request(r, rt),
		}
	case viaHandOver:
		return engine.Dial{Action: engine.Deliver, To: rt.target, Pod: rt.pod, Source: rt.source}
	}
	return engine.Dial{Action: engine.Plain, To: rt.target}
}

func (d *Decider) request(r *engine.Record, rt *route) *hbone.Request {
	host := ""
	if rt.service != nil {
		host = rt.service.Hostname
	}
	return &hbone.Request{
		Authority:   rt.target.String(),
		Baggage:     d.baggageOf(r.From),
		Forwarded:   hbone.FormatForwarded(r.Source, host),
		Traceparent: r.Trace,
	}
}

// peersKey is what the accepted identities of a tunnel's far end depend on.
type peersKey struct {
	to  *mesh.Workload
	svc *mesh.Service
}

func (d *Decider) peersOf(to *mesh.Workload, svc *mesh.Service) []string {
	return d.peers.get(peersKey{to, svc}, func(k peersKey) []string {
		list := []string{k.to.Identity.String()}
		if k.svc != nil {
			list = append(list, k.svc.SANs...)
		}
		return list
	})
}
