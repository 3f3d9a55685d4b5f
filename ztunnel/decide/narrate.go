package decide

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/mesh"
)

// describe says where the call goes.
func (x *explainer) describe(c *call, rt *route) {
	x.out.Path = rt.path.String()
	if rt.service != nil {
		x.out.Service = rt.service.Key
		x.step("%s port %d is service %s", orName(c.dest.Addr(), x.out.Destination), c.dest.Port(), rt.service.Key)
		x.endpoints(c, rt.service)
	}
	if rt.to != nil {
		x.out.Endpoint = title(rt.to) + " " + rt.target.String()
		x.step("the endpoint is %s at %s", title(rt.to), rt.target)
	}
	switch {
	case rt.path == viaTunnel:
		x.out.Identity, x.out.PeerIdentities = c.pod.Identity.String(), slices.Clone(x.d.peersOf(rt.to, rt.service))
		x.step("a tunnel to %s:%d; its proxy must be %v", rt.target.Addr(), hbonePort, x.out.PeerIdentities)
	case rt.path == viaHandOver:
		x.out.Identity, x.out.PeerIdentities = c.pod.Identity.String(), []string{rt.to.Identity.String()}
		x.step("both pods are enrolled on this node: handed over inside the proxy, as %s", c.pod.Identity)
		if _, ok := x.d.Direct(c.pod, c.dest); ok {
			x.step("once such a connection stands, the next ones go directly, past the proxy")
		}
	case rt.path == viaPlain:
		x.step("plaintext")
	case rt.path == viaNothing && rt.none():
		x.step("passed through to %s as without a mesh", rt.target)
	}
}

func orName(a netip.Addr, name string) string {
	if a.IsValid() {
		return a.String()
	}
	return name
}

// endpoints lists those that could have been picked.
func (x *explainer) endpoints(c *call, svc *mesh.Service) {
	ejected := map[string]balance.EndpointState{}
	for _, s := range x.d.opts.Balancer.State() {
		if s.Service == svc.Key {
			ejected[s.Workload] = s
		}
	}
	for _, e := range x.snap.Endpoints(svc) {
		out := Endpoint{Workload: title(e.Workload)}
		if port, ok := targetPort(svc, &e, c.dest.Port()); ok {
			out.Address = addrOf(netip.AddrPortFrom(addressOf(e.Workload, c.pod, c.dest.Addr()), port))
		}
		if s := ejected[e.Workload.UID]; s.Ejected || slices.Contains(s.EjectedFor, c.pod.Workload) {
			out.Ejected = true
			if !s.Until.IsZero() {
				out.Until = s.Until.UTC().Format(time.RFC3339)
			}
			x.step("endpoint %s is ejected (settings of %s)", out.Workload, s.From)
		}
		x.out.Endpoints = append(x.out.Endpoints, out)
	}
}

// conclude says what policy makes of it.
func (x *explainer) conclude(rt *route, e *entry) {
	x.out.Policy, x.out.DryRun = e.policy, e.dryRun
	for _, p := range e.dryRun {
		x.step("dry run: policy %s would refuse it", p)
	}
	f := rt.refusal
	if f.none() {
		f = e.refusal
	}
	if !f.none() {
		x.refuse(f)
		return
	}
	x.out.Allowed = true
	switch {
	case e.policy != "":
		x.step("allowed by policy %s", e.policy)
	case e.own != nil:
		x.step("allowed: no policy applies that refuses it")
	default:
		x.step("allowed: the destination is not in the mesh and no policy of the mesh is enforced there")
	}
}

func (x *explainer) refuse(f refusal) {
	x.out.Reason, x.out.Detail = string(f.why), f.detail
	x.step("refused (%s): %s", f.why, f.detail)
}
