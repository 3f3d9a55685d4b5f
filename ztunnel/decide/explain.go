package decide

import (
	"fmt"
	"net/netip"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Explanation says what the proxy would do with a connection, and why.
type Explanation struct {
	Source         string     `json:"source"`
	Destination    string     `json:"destination"`
	Path           string     `json:"path"`     // "tunnel", "same_node", "plain" or "passthrough"
	Identity       string     `json:"identity"` // that the destination sees; "" in plaintext
	PeerIdentities []string   `json:"peerIdentities"`
	Service        string     `json:"service"`
	Endpoint       string     `json:"endpoint"` // namespace/name and address of the one that was picked now
	Endpoints      []Endpoint `json:"endpoints"`
	Policy         string     `json:"policy"`
	Allowed        bool       `json:"allowed"`
	Reason         string     `json:"reason"`
	Detail         string     `json:"detail"`
	Steps          []string   `json:"steps"`
	DryRun         []string   `json:"dryRun"`
}

// Endpoint is one that the service could use.
type Endpoint struct {
	Workload string `json:"workload"`
	Address  string `json:"address"`
	Ejected  bool   `json:"ejected"`
	Until    string `json:"until"` // RFC 3339; "" if not ejected
}

// Explain judges a connection that nobody makes, by the functions that judge real ones. source is
// "namespace/pod" or an address, destination also a host name or "namespace/service". It leaves no
// trace in the balancer. It fails if it does not know whom it is asked about.
func (d *Decider) Explain(source, destination string, port uint16) (*Explanation, error) {
	snap := d.opts.Store.Snapshot()
	x := &explainer{d: d, snap: snap, out: &Explanation{Source: source, Destination: destination}}
	from, err := findSource(snap, source)
	if err != nil {
		return nil, fmt.Errorf("explain source %q: %w", source, err)
	}
	dest, err := findDestination(snap, destination, from.namespace())
	if err != nil {
		return nil, fmt.Errorf("explain destination %q: %w", destination, err)
	}
	x.run(from, dest, port)
	x.out.PeerIdentities = orEmpty(x.out.PeerIdentities)
	x.out.Endpoints = orEmpty(x.out.Endpoints)
	x.out.DryRun = orEmpty(x.out.DryRun)
	return x.out, nil
}

// orEmpty makes an empty list of none, for JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

type explainer struct {
	d    *Decider
	snap *mesh.Snapshot
	out  *Explanation
}

func (x *explainer) step(format string, args ...any) {
	x.out.Steps = append(x.out.Steps, fmt.Sprintf(format, args...))
}

func (x *explainer) run(from subject, dest place, port uint16) {
	pod := x.podOf(from)
	c := &call{snap: x.snap, pod: pod, from: from.workload, source: from.addr, dest: netip.AddrPortFrom(dest.addr, port),
		node: nodeOf(from.workload), pick: x.peek}
	if w := from.workload; w == nil || w.Protocol != mesh.HBONE {
		x.step("%s is not in the mesh: its connections are not captured and bear no identity", x.out.Source)
		x.uncaptured(c, dest)
		return
	}
	x.step("%s runs on node %s as %s", title(from.workload), c.node, pod.Identity)
	if c.node != x.d.opts.Node {
		x.step("this is the proxy of node %s: the pick of the other node's proxy may differ", x.d.opts.Node)
	}
	if _, f := own(x.snap, pod); !f.none() {
		x.refuse(f)
		return
	}
	rt := x.routeTo(c, dest)
	x.describe(c, &rt)
	if rt.path == viaTunnel && rt.none() {
		x.farEnd(c, &rt, pod.Identity)
		return
	}
	x.conclude(&rt, &rt.entry)
}

// podOf returns the source as the proxy knows it; of a pod that is not served here, as the mesh does.
func (x *explainer) podOf(from subject) *engine.Pod {
	if p := x.d.opts.LocalPods(from.addr); p != nil {
		return p
	}
	return podFrom(from.workload, from.addr)
}

func nodeOf(w *mesh.Workload) string {
	if w == nil {
		return ""
	}
	return w.Node
}

// podFrom makes the pod that a record speaks of.
func podFrom(w *mesh.Workload, addr netip.Addr) *engine.Pod {
	if w == nil {
		return &engine.Pod{Addrs: []netip.Addr{addr}}
	}
	return &engine.Pod{Workload: w.UID, Namespace: w.Namespace, Name: w.Name, Addrs: w.Addrs, Identity: w.Identity}
}

// peek picks like the balancer and gives back at once.
func (x *explainer) peek(svc *mesh.Service, eps []mesh.Endpoint, tried []*mesh.Workload, want balance.Want) (mesh.Endpoint, *balance.Lease, bool) {
	e, lease, ok := x.d.opts.Balancer.Pick(svc, eps, tried, want)
	lease.Release()
	return e, nil, ok
}

// routeTo routes as the proxy does. A service that has no address is not called by one: DNS gives the
// addresses of its endpoints, so one of them is picked and called.
func (x *explainer) routeTo(c *call, dest place) route {
	svc := dest.service
	if svc == nil || dest.addr.IsValid() {
		return x.d.route(c)
	}
	x.step("service %s has no address of its own: DNS gives those of its endpoints", svc.Key)
	rt := route{service: svc}
	if eps := x.snap.Endpoints(svc); len(eps) > 0 {
		addr := addressOf(eps[0].Workload, c.pod, netip.Addr{})
		c.dest = netip.AddrPortFrom(addr, c.dest.Port())
		rt = x.d.route(c)
		rt.service = svc
		return rt
	}
	rt.refusal = refusal{reason.NoEndpoint, noEndpoint(svc, 0)}
	return rt
}

// farEnd judges as the destination's proxy will.
func (x *explainer) farEnd(c *call, rt *route, id identity.ID) {
	from := sourceFor(c.pod, c.source, rt.target.Addr())
	e := admit(&visit{snap: x.snap, pod: podFrom(rt.to, netip.Addr{}), source: id, from: from, target: rt.target})
	x.conclude(rt, &e)
}

// uncaptured follows a connection that no proxy places: addresses are what they are, and a service's
// are mapped by the cluster.
func (x *explainer) uncaptured(c *call, dest place) {
	rt := route{path: viaNothing, target: c.dest}
	if svc := x.snap.ServiceAt(dest.addr, c.pod.Namespace); svc != nil {
		if c.from == nil {
			c.from = &mesh.Workload{} // of the default network
		}
		rt.service = svc
		rt.refusal = x.d.endpoint(c, &rt)
	} else {
		rt.to = x.snap.WorkloadAt(dest.addr)
	}
	if rt.to != nil {
		rt.path = viaPlain
	}
	x.describe(c, &rt)
	var e entry
	if rt.none() && rt.to != nil && rt.to.Protocol == mesh.HBONE {
		x.step("the destination is in the mesh: its proxy judges the plaintext connection")
		e = admit(&visit{snap: x.snap, pod: podFrom(rt.to, netip.Addr{}), from: c.source, target: rt.target})
	}
	x.conclude(&rt, &e)
}

// title is how users name a workload.
func title(w *mesh.Workload) string { return w.Namespace + "/" + w.Name }
