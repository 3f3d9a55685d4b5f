package decide

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// maxUnfit bounds how many endpoints that do not fit a call are looked at.
const maxUnfit = 32

// endpoint picks an endpoint of rt.service that has not been tried, and its address and port.
func (d *Decider) endpoint(c *call, rt *route) refusal {
	svc, port := rt.service, c.dest.Port()
	known := slices.ContainsFunc(svc.Ports, func(p mesh.Port) bool { return p.Service == port })
	if !known {
		return refusal{reason.NoEndpoint, fmt.Sprintf("service %s has no port %d", svc.Key, port)}
	}
	eps, tried := c.snap.Endpoints(svc), c.tried
	want := balance.Want{V6: c.dest.Addr().Is6(), From: balance.Place{Node: c.node, Zone: c.from.Zone, Region: c.from.Region}, Source: c.pod.Workload, Identity: c.pod.Identity}
	for range maxUnfit {
		e, lease, ok := c.pick(svc, eps, tried, want)
		if !ok {
			break
		}
		if target, ok := fit(c, svc, &e); ok {
			rt.to, rt.target, rt.lease = e.Workload, target, lease
			return refusal{}
		}
		lease.Release()
		tried = append(slices.Clip(tried), e.Workload)
	}
	return refusal{reason.NoEndpoint, noEndpoint(svc, len(eps))}
}

func noEndpoint(svc *mesh.Service, ready int) string {
	switch {
	case ready == 0:
		return "service " + svc.Key + " has no endpoint that is ready"
	case svc.LocalOnly:
		return "service " + svc.Key + " is limited to the caller's node and has no endpoint there"
	}
	return "service " + svc.Key + " has no endpoint that fits the call"
}

// fit returns where on the endpoint the call leads; false if it cannot: the endpoint is in another
// network, has no address, or does not have the port under its name.
func fit(c *call, svc *mesh.Service, e *mesh.Endpoint) (netip.AddrPort, bool) {
	if e.Workload.Network != c.from.Network {
		return netip.AddrPort{}, false
	}
	addr := addressOf(e.Workload, c.pod, c.dest.Addr())
	port, ok := targetPort(svc, e, c.dest.Port())
	return netip.AddrPortFrom(addr, port), ok && addr.IsValid()
}

// targetPort maps a service's port: the endpoint's own map first, then the service's. A service that
// leaves it to the endpoints has none on an endpoint whose map lacks it.
func targetPort(svc *mesh.Service, e *mesh.Endpoint, port uint16) (uint16, bool) {
	if p, ok := portOf(e.Ports, port); ok && p.Target != 0 {
		return p.Target, true
	}
	p, ok := portOf(svc.Ports, port)
	switch {
	case ok && p.Target != 0:
		return p.Target, true
	case ok && len(e.Ports) == 0:
		return port, true
	}
	return 0, false
}

func portOf(ports []mesh.Port, service uint16) (mesh.Port, bool) {
	for _, p := range ports {
		if p.Service == service {
			return p, true
		}
	}
	return mesh.Port{}, false
}

// addressOf returns an address of w: of the family that was called if the caller has it too, else of
// one that the caller has, else any.
func addressOf(w *mesh.Workload, caller *engine.Pod, called netip.Addr) (best netip.Addr) {
	rank := 0
	for _, a := range w.Addrs {
		r := 1
		if sourceFor(caller, a, a).IsValid() {
			r = 2
			if a.Is4() == called.Is4() {
				r = 3
			}
		}
		if r > rank {
			best, rank = a, r
		}
	}
	return best
}
