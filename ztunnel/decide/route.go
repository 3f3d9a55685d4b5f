package decide

import (
	"net/netip"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// path is the way of an outbound connection.
type path uint8

const (
	unrouted path = iota
	viaTunnel
	viaHandOver
	viaPlain   // to a workload that has no tunnel
	viaNothing // to the address that was called, as without a mesh
)

// String returns the word used in explanations.
func (p path) String() string {
	return [...]string{"", "tunnel", "same_node", "plain", "passthrough"}[p]
}

// call is an outbound connection that wants a route.
type call struct {
	snap   *mesh.Snapshot
	pod    *engine.Pod // the caller
	from   *mesh.Workload
	source netip.Addr // as TCP says
	dest   netip.AddrPort
	tried  []*mesh.Workload
	node   string // where the caller runs
	pick   picker
}

// picker is balance.Balancer.Pick, or what looks without touching.
type picker func(*mesh.Service, []mesh.Endpoint, []*mesh.Workload, balance.Want) (mesh.Endpoint, *balance.Lease, bool)

// route is where a call goes, or why it does not.
type route struct {
	refusal
	path    path
	service *mesh.Service
	to      *mesh.Workload // nil: outside of the mesh, or refused before one was found
	target  netip.AddrPort // the application's
	lease   *balance.Lease
	pod     *engine.Pod // hand-over: the destination
	source  netip.Addr  // hand-over: the address that the destination sees
	entry   entry       // hand-over: the destination's judgement
}

// route looks the destination up: a service, a workload, or neither.
func (d *Decider) route(c *call) route {
	addr := c.dest.Addr()
	if reserved(c.dest.Port()) && (addr.IsLoopback() || addr.IsUnspecified()) {
		return route{refusal: refusal{reason.ReservedPort, "a call to the mesh's own port on loopback"}, target: c.dest}
	}
	if svc := c.snap.ServiceAt(addr, c.pod.Namespace); svc != nil {
		return d.toService(c, svc)
	}
	if w := c.snap.WorkloadAt(addr); w != nil {
		return d.toWorkload(c, w)
	}
	return route{path: viaNothing, target: c.dest}
}

func (d *Decider) toWorkload(c *call, w *mesh.Workload) route {
	rt := route{to: w, target: c.dest}
	if w.HasWaypoint {
		rt.refusal = refusal{reason.NeedsWaypoint, "workload " + w.UID + " has a waypoint, and none can be reached"}
		return rt
	}
	return d.toEndpoint(c, rt)
}

func (d *Decider) toService(c *call, svc *mesh.Service) route {
	rt := route{service: svc, target: c.dest}
	if svc.HasWaypoint {
		rt.refusal = refusal{reason.NeedsWaypoint, "service " + svc.Key + " has a waypoint, and none can be reached"}
		return rt
	}
	if svc.Passthrough {
		rt.path = viaNothing
		return rt
	}
	if rt.refusal = d.endpoint(c, &rt); !rt.none() {
		return rt
	}
	return d.toEndpoint(c, rt)
}

// toEndpoint chooses the way to a workload whose address and port are known.
func (d *Decider) toEndpoint(c *call, rt route) route {
	if rt.to.Protocol != mesh.HBONE {
		rt.path = viaPlain
		return rt
	}
	rt.path = viaTunnel
	if rt.pod = d.servedHere(c, rt.to, rt.target.Addr()); rt.pod != nil {
		rt.path = viaHandOver
		rt.source = sourceFor(c.pod, c.source, rt.target.Addr())
		// The same judgement as the destination's proxy would make, were it another.
		rt.entry = admit(&visit{snap: c.snap, pod: rt.pod, source: c.pod.Identity, from: rt.source, target: rt.target})
		rt.refusal = rt.entry.refusal
	}
	return rt
}

// servedHere returns the pod of w if this very proxy would be the other end of the tunnel. A workload
// that is said to be of this node and is not served here (another proxy may be, during an upgrade) is
// called like one of another node.
func (d *Decider) servedHere(c *call, w *mesh.Workload, addr netip.Addr) *engine.Pod {
	if d.opts.SameNode == MTLS || w.Node != d.opts.Node || c.node != d.opts.Node {
		return nil
	}
	if p := d.opts.LocalPods(addr); p != nil && p.Workload == w.UID {
		return p
	}
	return nil
}

// sourceFor returns the address from which a leg of the pod's would come: its own, whatever the
// application bound its socket to, and of the destination's family. Invalid if it has none.
func sourceFor(p *engine.Pod, said, dest netip.Addr) netip.Addr {
	if said.Is4() == dest.Is4() && p.Owns(said) {
		return said
	}
	for _, a := range p.Addrs {
		if a.Is4() == dest.Is4() {
			return a
		}
	}
	return netip.Addr{}
}
