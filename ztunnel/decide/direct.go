package decide

import (
	"net/netip"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Ruling says that a pod's calls to an address may go past the proxy, and where to.
type Ruling struct {
	Generation uint64 // of the snapshot by which it was judged
	Caller     *engine.Pod
	From       *mesh.Workload
	Service    *mesh.Service // nil: a pod was called
	Places     []Place
}

// Place is a pod of this node to which a call may lead.
type Place struct {
	Pod    *engine.Pod
	To     *mesh.Workload
	At     netip.AddrPort
	Policy string // that allowed it
}

// MaxPlaces is how many places one ruling may have.
const MaxPlaces = 8

// Direct judges calls that the kernel would carry, by what judges those that go through the proxy. It says
// no to all that takes more than a yes: another node, a waypoint, plaintext, a dry run to be counted, an
// endpoint that is ejected.
func (d *Decider) Direct(caller *engine.Pod, to netip.AddrPort) (Ruling, bool) {
	snap := d.opts.Store.Snapshot()
	r := Ruling{Generation: snap.Generation(), Caller: caller}
	from, f := own(snap, caller)
	if !f.none() || caller.Leaving.Load() || reserved(to.Port()) || d.opts.SameNode != Direct {
		return r, false
	}
	r.From = from
	c := &call{snap: snap, pod: caller, from: from, source: sourceFor(caller, to.Addr(), to.Addr()), dest: to, node: d.opts.Node}
	if r.Service = snap.ServiceAt(to.Addr(), caller.Namespace); r.Service != nil {
		return r, d.placesOf(c, &r)
	}
	w := snap.WorkloadAt(to.Addr())
	if w == nil || w.HasWaypoint {
		return r, false
	}
	return r, d.place(c, &r, w, to)
}

// placesOf takes a service if every endpoint that could be picked now is a place.
func (d *Decider) placesOf(c *call, r *Ruling) bool {
	svc := r.Service
	if svc.HasWaypoint || svc.Passthrough {
		return false
	}
	want := balance.Want{
		V6: c.dest.Addr().Is6(), From: balance.Place{Node: c.node, Zone: c.from.Zone, Region: c.from.Region},
		Source: c.pod.Workload, Identity: c.pod.Identity,
	}
	for _, e := range d.opts.Balancer.Candidates(svc, c.snap.Endpoints(svc), want, MaxPlaces) {
		if _, known := portOf(svc.Ports, c.dest.Port()); !known {
			return false
		}
		at, ok := fit(c, svc, &e)
		if !ok || !d.place(c, r, e.Workload, at) {
			return false
		}
	}
	return len(r.Places) > 0
}

// place adds a place, if the caller may go there.
func (d *Decider) place(c *call, r *Ruling, w *mesh.Workload, at netip.AddrPort) bool {
	source := sourceFor(c.pod, c.source, at.Addr())
	if w.Protocol != mesh.HBONE || !source.IsValid() || at.Addr().Is4() != c.dest.Addr().Is4() {
		return false
	}
	pod := d.servedHere(c, w, at.Addr())
	if pod == nil || pod.Workload == c.pod.Workload || pod.Leaving.Load() {
		return false
	}
	e := admit(&visit{snap: c.snap, pod: pod, source: c.pod.Identity, from: source, target: at})
	if !e.none() || len(e.dryRun) > 0 {
		return false
	}
	r.Places = append(r.Places, Place{Pod: pod, To: w, At: at, Policy: e.policy})
	return true
}

// RejudgeDirect judges running connections of a caller to a place again, as Rejudge does.
func (d *Decider) RejudgeDirect(caller, dest *engine.Pod, at netip.AddrPort) (why reason.Reason, ok bool) {
	v := visit{
		snap: d.opts.Store.Snapshot(), pod: dest, source: caller.Identity, from: sourceFor(caller, netip.Addr{}, at.Addr()), target: at,
	}
	e := entry{refusal: taken(&v)}
	if e.none() {
		e = admit(&v)
	}
	return e.why, e.none()
}
