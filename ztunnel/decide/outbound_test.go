package decide

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

const vip = "10.1.0.1"

// shop is a client and two servers: far on another node, near on this one.
func shop(t testing.TB, change func(*Options)) (*world, *engine.Pod) {
	w := newWorld(t, change)
	w.addresses(
		pod("client", "here", nil, "10.0.0.1", "fd00::1"),
		pod("far", "there", in("shop/web.shop"), "10.0.1.1"),
		svc("web", nil, vip),
	)
	return w, w.serve("client")
}

func TestOutboundPaths(t *testing.T) {
	w, client := shop(t, nil)
	w.addresses(
		pod("near", "here", nil, "10.0.0.2", "fd00::2"),
		pod("unserved", "here", nil, "10.0.0.3"),
		pod("legacy", "there", plainTCP, "10.0.1.9"),
		pod("behind", "there", func(w *workload.Workload) { w.Waypoint = &workload.GatewayAddress{} }, "10.0.1.8"),
		svc("gated", func(s *workload.Service) { s.Waypoint = &workload.GatewayAddress{} }, "10.1.0.2"),
		svc("through", func(s *workload.Service) {
			s.LoadBalancing = &workload.LoadBalancing{Mode: workload.LoadBalancing_PASSTHROUGH}
		}, "10.1.0.3"),
		svc("empty", nil, "10.1.0.4"),
		svc("local", func(s *workload.Service) {
			s.LoadBalancing = &workload.LoadBalancing{Mode: workload.LoadBalancing_STRICT,
				RoutingPreference: []workload.LoadBalancing_Scope{workload.LoadBalancing_NODE}}
		}, "10.1.0.5"),
		pod("far2", "there", in("shop/local.shop"), "10.0.1.2"),
	)
	near := w.serve("near")
	for _, c := range []struct {
		name, to, target string
		action           engine.Action
		why              string
		path             string
	}{
		{"service", vip + ":80", "10.0.1.1:8080", engine.Tunnel, "", "tunnel"},
		{"service, unknown port", vip + ":81", vip + ":81", engine.Refuse, "no_healthy_upstream", ""},
		{"service without endpoint", "10.1.0.4:80", "10.1.0.4:80", engine.Refuse, "no_healthy_upstream", ""},
		{"service of this node only", "10.1.0.5:80", "10.1.0.5:80", engine.Refuse, "no_healthy_upstream", ""},
		{"service with waypoint", "10.1.0.2:80", "10.1.0.2:80", engine.Refuse, "needs_waypoint", ""},
		{"service passed through", "10.1.0.3:80", "10.1.0.3:80", engine.Plain, "", "passthrough"},
		{"pod", "10.0.1.1:9999", "10.0.1.1:9999", engine.Tunnel, "", "tunnel"},
		{"pod of this node", "10.0.0.2:9999", "10.0.0.2:9999", engine.Deliver, "", "same_node"},
		{"pod of this node, not served", "10.0.0.3:9999", "10.0.0.3:9999", engine.Tunnel, "", "tunnel"},
		{"pod without tunnel", "10.0.1.9:25", "10.0.1.9:25", engine.Plain, "", "plain"},
		{"pod with waypoint", "10.0.1.8:25", "10.0.1.8:25", engine.Refuse, "needs_waypoint", ""},
		{"outside", "192.0.2.7:443", "192.0.2.7:443", engine.Plain, "", "passthrough"},
		{"loopback", "127.0.0.1:8080", "127.0.0.1:8080", engine.Plain, "", "passthrough"},
		{"own listener", "127.0.0.1:15001", "127.0.0.1:15001", engine.Refuse, "reserved_port", ""},
		{"own listener, v6", "[::1]:15008", "[::1]:15008", engine.Refuse, "reserved_port", ""},
		{"own listener, unspecified", "0.0.0.0:15006", "0.0.0.0:15006", engine.Refuse, "reserved_port", ""},
		{"neighbour's listener", "10.0.0.2:15008", "10.0.0.2:15008", engine.Refuse, "reserved_port", "same_node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.outbound(client, c.to)
			p := w.d.Accepted(r)
			wantPlan(t, p, c.action, c.why)
			if got := r.Target.String(); got != c.target {
				t.Errorf("target %s, want %s", got, c.target)
			}
			if got := of(r).path.String(); got != c.path {
				t.Errorf("path %q, want %q", got, c.path)
			}
			if p.Dial.Action != p.Action && p.Action != engine.Refuse {
				t.Errorf("plan %d dials %d", p.Action, p.Dial.Action)
			}
		})
	}
	r := w.outbound(client, "10.0.0.2:9999")
	if p := w.d.Accepted(r); p.Dial.Pod != near || p.Dial.Source != client.Addrs[0] {
		t.Errorf("hand-over to %v from %s", p.Dial.Pod, p.Dial.Source)
	}
}

func TestOutboundTunnelRequest(t *testing.T) {
	w, client := shop(t, nil)
	w.addresses(svc("web", func(s *workload.Service) { s.SubjectAltNames = []string{"spiffe://cluster.local/ns/shop/sa/other"} }, vip))
	r := w.outbound(client, vip+":80")
	p := w.d.Accepted(r)
	if got := p.Dial.To.String(); got != "10.0.1.1:15008" {
		t.Errorf("tunnel to %s", got)
	}
	if diff := cmp.Diff([]string{id("far").String(), "spiffe://cluster.local/ns/shop/sa/other"}, p.Dial.Peers); diff != "" {
		t.Error(diff)
	}
	q := p.Dial.Request
	if q.Authority != "10.0.1.1:8080" || q.Forwarded != `for="10.0.0.1:40000";host=web.shop` ||
		q.Baggage != "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.pod.name=client,service.name=client,service.version=v1" {
		t.Errorf("request %+v", q)
	}
	if r.Trace == "" || q.Traceparent != r.Trace {
		t.Errorf("trace %q in the record, %q in the request", r.Trace, q.Traceparent)
	}
	if r.From.Name != "client" || r.To.Name != "far" || r.Service.Hostname != "web.shop" {
		t.Errorf("record from %v to %v service %v", r.From, r.To, r.Service)
	}
}

func TestSameNodeMTLS(t *testing.T) {
	w, client := shop(t, func(o *Options) { o.SameNode = MTLS })
	w.addresses(pod("near", "here", nil, "10.0.0.2"))
	w.serve("near")
	p := w.d.Accepted(w.outbound(client, "10.0.0.2:80"))
	wantPlan(t, p, engine.Tunnel, "")
}

// A pod may bind its sockets to any address in its own namespace; the destination must see, and judge,
// what a leg of the pod's would have.
func TestHandOverSourceIsThePods(t *testing.T) {
	w, client := shop(t, nil)
	w.addresses(pod("near", "here", nil, "10.0.0.2", "fd00::2"))
	w.serve("near")
	w.policies(policy("victim-only", security.Scope_NAMESPACE, security.Action_ALLOW,
		&security.Match{SourceIps: []*security.Address{{Address: ip("10.0.7.7"), Length: 32}}}))
	r := w.record(engine.Outbound, client, "10.0.7.7:40000", "10.0.0.2:80")
	wantPlan(t, w.d.Accepted(r), engine.Refuse, "policy_no_allow")
	w.apply(mesh.Update{RemovePolicy: []string{"shop/victim-only"}})
	for to, source := range map[string]string{"10.0.0.2:80": "10.0.0.1", "[fd00::2]:80": "fd00::1"} {
		r := w.record(engine.Outbound, client, "10.0.7.7:40000", to)
		if p := w.d.Accepted(r); p.Dial.Source.String() != source {
			t.Errorf("to %s: %s, want source %s", to, show(p), source)
		}
	}
}

func TestEndpointPorts(t *testing.T) {
	w, client := shop(t, nil)
	named := func(s *workload.Service) { s.Ports = []*workload.Port{{ServicePort: 80}} }
	own := func(port uint32) func(*workload.Workload) {
		return func(w *workload.Workload) {
			w.Services = map[string]*workload.PortList{"shop/named.shop": {Ports: []*workload.Port{{ServicePort: 80, TargetPort: port}}}}
		}
	}
	other := func(w *workload.Workload) {
		w.Services = map[string]*workload.PortList{"shop/named.shop": {Ports: []*workload.Port{{ServicePort: 81, TargetPort: 1}}}}
	}
	w.addresses(svc("named", named, "10.1.0.9"), pod("a", "there", other, "10.0.2.1"), pod("b", "there", own(9000), "10.0.2.2"))
	for range 20 { // whatever the draw, only b has the port
		r := w.outbound(client, "10.1.0.9:80")
		p := w.d.Accepted(r)
		wantPlan(t, p, engine.Tunnel, "")
		if r.Target != netip.MustParseAddrPort("10.0.2.2:9000") {
			t.Fatalf("target %s", r.Target)
		}
		w.d.Closed(r)
	}
	if s := w.bal.State(); len(s) != 2 || s[0].InFlight != 0 || s[1].InFlight != 0 {
		t.Errorf("leases were not given back: %+v", s)
	}
	w.apply(mesh.Update{RemoveAddress: []string{uid("b")}})
	p := w.d.Accepted(w.outbound(client, "10.1.0.9:80"))
	wantPlan(t, p, engine.Refuse, "no_healthy_upstream")
	if !strings.Contains(p.Detail, "fits the call") {
		t.Errorf("detail %q", p.Detail)
	}
}

func TestEndpointFamily(t *testing.T) {
	w, client := shop(t, nil)
	w.addresses(pod("dual", "there", in("shop/dual.shop"), "10.0.3.1", "fd00::31"), svc("dual", nil, "10.1.0.6", "fd01::6"))
	for to, target := range map[string]string{"10.1.0.6:80": "10.0.3.1:8080", "[fd01::6]:80": "[fd00::31]:8080"} {
		r := w.outbound(client, to)
		w.d.Accepted(r)
		if r.Target.String() != target {
			t.Errorf("%s leads to %s, want %s", to, r.Target, target)
		}
	}
}

func TestEndpointOfAnotherNetwork(t *testing.T) {
	w, client := shop(t, nil)
	w.addresses(pod("far", "there", and(in("shop/web.shop"), func(w *workload.Workload) { w.Network = "other" }), "10.0.1.1"))
	wantPlan(t, w.d.Accepted(w.outbound(client, vip+":80")), engine.Refuse, "no_healthy_upstream")
}

// A hand-over is judged by the caller's identity, and waits like a tunnel would.
func TestHandOverIsJudged(t *testing.T) {
	for account, action := range map[string]engine.Action{"client": engine.Deliver, "near": engine.Refuse} {
		w, client := shop(t, nil)
		w.addresses(pod("near", "here", nil, "10.0.0.2"))
		w.serve("near")
		w.policies(policy("only", security.Scope_NAMESPACE, security.Action_ALLOW, principal(account)))
		if p := w.d.Accepted(w.outbound(client, "10.0.0.2:80")); p.Action != action {
			t.Errorf("ALLOW %s: %s", account, show(p))
		}
	}
}
