package mesh

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func uid(name string) string { return "Kubernetes//Pod/shop/" + name }

func pod(name string, change func(*workload.Workload), addrs ...string) *workload.Address {
	w := &workload.Workload{
		Uid: uid(name), Name: name, Namespace: "shop", ServiceAccount: name, Node: "node1",
		TunnelProtocol: workload.TunnelProtocol_HBONE, WorkloadType: workload.WorkloadType_POD,
	}
	for _, a := range addrs {
		w.Addresses = append(w.Addresses, ip(a))
	}
	if change != nil {
		change(w)
	}
	return &workload.Address{Type: &workload.Address_Workload{Workload: w}}
}

func in(keys ...string) func(*workload.Workload) {
	return func(w *workload.Workload) {
		w.Services = map[string]*workload.PortList{}
		for _, k := range keys {
			w.Services[k] = &workload.PortList{Ports: []*workload.Port{{ServicePort: 80, TargetPort: 8080}}}
		}
	}
}

func svc(namespace, host string, change func(*workload.Service), vips ...string) *workload.Address {
	s := &workload.Service{Name: host, Namespace: namespace, Hostname: host, Ports: []*workload.Port{{ServicePort: 80, TargetPort: 8080}}}
	for _, v := range vips {
		if p, err := netip.ParsePrefix(v); err == nil {
			s.Addresses = append(s.Addresses, &workload.NetworkAddress{Address: p.Addr().AsSlice(), Length: new(uint32(p.Bits()))})
			continue
		}
		s.Addresses = append(s.Addresses, &workload.NetworkAddress{Address: ip(v)})
	}
	if change != nil {
		change(s)
	}
	return &workload.Address{Type: &workload.Address_Service{Service: s}}
}

func upsert(a ...*workload.Address) Update { return Update{UpsertAddress: a} }

func apply(t testing.TB, s *Store, u Update) *Snapshot {
	t.Helper()
	if errs := s.Apply(u); len(errs) > 0 {
		t.Fatal(errs)
	}
	return s.Snapshot()
}

func policy(namespace, name string, scope security.Scope, action security.Action, m *security.Match) *security.Authorization {
	a := &security.Authorization{Name: name, Namespace: namespace, Scope: scope, Action: action}
	if m != nil {
		a.Rules = []*security.Rule{{Clauses: []*security.Clause{{Matches: []*security.Match{m}}}}}
	}
	return a
}

func from(namespace string) *security.Match {
	return &security.Match{Namespaces: []*security.StringMatch{{MatchType: &security.StringMatch_Exact{Exact: namespace}}}}
}

func TestWorkloadIsRead(t *testing.T) {
	s := NewStore(Options{})
	snap := apply(t, s, upsert(pod("web", func(w *workload.Workload) {
		w.Capacity = wrapperspb.UInt32(3)
		w.Locality = &workload.Locality{Region: "r", Zone: "z"}
		w.AuthorizationPolicies = []string{"shop/a"}
		in("shop/pay.shop.svc.cluster.local")(w)
	}, "10.0.0.1", "fd00::1", "::ffff:10.0.0.1")))
	want := &Workload{
		UID: uid("web"), Name: "web", Namespace: "shop",
		Identity: identity.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"},
		Addrs:    []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
		Protocol: HBONE, Node: "node1", Cluster: "Kubernetes", WorkloadName: "web", WorkloadKind: "pod",
		Region: "r", Zone: "z", Healthy: true, Capacity: 3, Policies: []string{"shop/a"},
		Services: []Membership{{"shop/pay.shop.svc.cluster.local", []Port{{80, 8080}}}},
	}
	opt := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	for name, got := range map[string]*Workload{
		"by uid": snap.Workload(uid("web")), "by v4": snap.WorkloadAt(netip.MustParseAddr("10.0.0.1")),
		"by v6": snap.WorkloadAt(netip.MustParseAddr("fd00::1")), "by mapped": snap.WorkloadAt(netip.MustParseAddr("::ffff:10.0.0.1")),
	} {
		if d := cmp.Diff(want, got, opt); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
	if snap.WorkloadAt(netip.MustParseAddr("10.0.0.2")) != nil || snap.Workload("x") != nil || snap.WorkloadAt(netip.Addr{}) != nil {
		t.Error("found what is not there")
	}
}

func TestServiceIsRead(t *testing.T) {
	outlier, err := anypb.New(&ambit.Outlier{ConsecutiveFailures: 5, IntervalMs: 10_000, BaseEjectionMs: 30_000, MaxEjectionPercent: 50, From: "DestinationRule shop/pay"})
	if err != nil {
		t.Fatal(err)
	}
	s := NewStore(Options{Network: "n1"})
	snap := apply(t, s, upsert(svc("shop", "pay", func(m *workload.Service) {
		m.Addresses = []*workload.NetworkAddress{{Network: "n1", Address: ip("10.96.0.1")}, {Network: "n2", Address: ip("10.96.0.2")}}
		m.SubjectAltNames = []string{"spiffe://x/ns/y/sa/z"}
		m.LoadBalancing = &workload.LoadBalancing{Mode: workload.LoadBalancing_STRICT, RoutingPreference: []workload.LoadBalancing_Scope{workload.LoadBalancing_NODE}, HealthPolicy: workload.LoadBalancing_ALLOW_ALL}
		m.Visibility = workload.Service_NAMESPACE
		m.Waypoints = []*workload.WeightedWaypoint{{}}
		m.Extensions = []*workload.Extension{{Name: "other"}, {Name: OutlierExtension, Config: outlier}}
	})))
	want := &Service{
		Key: "shop/pay", Name: "pay", Namespace: "shop", Hostname: "pay",
		VIPs: []netip.Prefix{netip.MustParsePrefix("10.96.0.1/32")}, Ports: []Port{{80, 8080}},
		SANs: []string{"spiffe://x/ns/y/sa/z"}, HasWaypoint: true, PublishAll: true, LocalOnly: true, Private: true,
		Outlier: Outlier{5, 10_000, 30_000, 50, "DestinationRule shop/pay"},
	}
	if d := cmp.Diff(want, snap.Service("shop/pay"), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if snap.ServiceAt(netip.MustParseAddr("10.96.0.2"), "shop") != nil {
		t.Error("an address of another network was entered")
	}
}

func TestBadAddressesAreRefusedOneByOne(t *testing.T) {
	long := strings.Repeat("x", maxString+1)
	bad := map[string]*workload.Address{
		"neither":            {},
		"no uid":             pod("x", func(w *workload.Workload) { w.Uid = "" }),
		"long name":          pod("x", func(w *workload.Workload) { w.Name = long }),
		"legacy tunnel":      pod("x", func(w *workload.Workload) { w.TunnelProtocol = workload.TunnelProtocol_LEGACY_ISTIO_MTLS }),
		"unknown tunnel":     pod("x", func(w *workload.Workload) { w.TunnelProtocol = 9 }),
		"address bytes":      pod("x", func(w *workload.Workload) { w.Addresses = [][]byte{{1, 2, 3}} }),
		"unspecified":        pod("x", nil, "0.0.0.0"),
		"loopback":           pod("x", nil, "::1"),
		"mapped loopback":    pod("x", nil, "::ffff:127.0.0.1"),
		"multicast":          pod("x", nil, "224.0.0.1"),
		"too many addresses": pod("x", func(w *workload.Workload) { w.Addresses = make([][]byte, maxAddrs+1) }),
		"identity":           pod("x", func(w *workload.Workload) { w.ServiceAccount = "a/b" }),
		"HBONE, no identity": pod("x", func(w *workload.Workload) { w.Namespace = "" }),
		"service key":        pod("x", in("noslash")),
		"service key, two":   pod("x", in("a/b/c")),
		"port 0": pod("x", func(w *workload.Workload) {
			w.Services = map[string]*workload.PortList{"a/b": {Ports: []*workload.Port{{}}}}
		}),
		"port 65536":            svc("shop", "x", func(s *workload.Service) { s.Ports = []*workload.Port{{ServicePort: 65536}} }),
		"no hostname":           svc("shop", "", nil),
		"no namespace":          svc("", "x", nil),
		"hostname with a slash": svc("shop", "x/y", nil),
		"VIP bytes":             svc("shop", "x", func(s *workload.Service) { s.Addresses = []*workload.NetworkAddress{{Address: []byte{1}}} }),
		"VIP length": svc("shop", "x", func(s *workload.Service) {
			s.Addresses = []*workload.NetworkAddress{{Address: ip("10.0.0.0"), Length: proto.Uint32(33)}}
		}),
		"mapped VIP length": svc("shop", "x", func(s *workload.Service) {
			s.Addresses = []*workload.NetworkAddress{{Address: netip.MustParseAddr("::ffff:10.0.0.0").AsSlice(), Length: proto.Uint32(90)}}
		}),
		"VIP unspecified": svc("shop", "x", nil, "0.0.0.0"),
		"outlier": svc("shop", "x", func(s *workload.Service) {
			s.Extensions = []*workload.Extension{{Name: OutlierExtension, Config: &anypb.Any{TypeUrl: "x"}}}
		}),
	}
	for name, a := range bad {
		s := NewStore(Options{})
		if errs := s.Apply(upsert(a, pod("good", nil, "10.0.0.9"))); len(errs) != 1 {
			t.Errorf("%s: errors %v, want one", name, errs)
		}
		w, v, _ := s.Snapshot().Size()
		if w != 1 || v != 0 || s.Snapshot().Workload(uid("good")) == nil {
			t.Errorf("%s: the good resource beside it was not applied, or the bad one was", name)
		}
	}
}

func TestRefusedUpdateLeavesTheOldOne(t *testing.T) {
	s := NewStore(Options{})
	apply(t, s, Update{UpsertAddress: []*workload.Address{pod("a", nil, "10.0.0.1")}, AddressVersion: []string{"v1"}})
	bad := pod("a", nil, "0.0.0.0")
	if errs := s.Apply(Update{UpsertAddress: []*workload.Address{bad}, AddressVersion: []string{"v2"}}); len(errs) != 1 {
		t.Fatal(errs)
	}
	if s.Snapshot().WorkloadAt(netip.MustParseAddr("10.0.0.1")) == nil {
		t.Error("the old one is gone")
	}
	if got := s.Snapshot().AddressVersions()[uid("a")]; got != "v1" {
		t.Errorf("version %q: the refused one would never be sent again", got)
	}
}

func TestAddressReuse(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	s := NewStore(Options{})
	holder := func() string {
		if w := s.Snapshot().WorkloadAt(addr); w != nil {
			return w.Name
		}
		return ""
	}
	expect := func(what, want string) {
		t.Helper()
		if got := holder(); got != want {
			t.Errorf("%s: %q has the address, want %q", what, got, want)
		}
	}
	apply(t, s, upsert(pod("old", nil, "10.0.0.1")))
	expect("first", "old")
	apply(t, s, upsert(pod("new", nil, "10.0.0.1")))
	expect("the newest claim", "new")
	apply(t, s, upsert(pod("old", func(w *workload.Workload) { w.Status = workload.WorkloadStatus_UNHEALTHY }, "10.0.0.1")))
	expect("a late update of the old one takes nothing back", "new")
	apply(t, s, upsert(pod("new", func(w *workload.Workload) { w.Node = "node2" }, "10.0.0.1")))
	expect("an update of the new one", "new")
	if s.Snapshot().WorkloadAt(addr).Node != "node2" {
		t.Error("the index has the outdated record")
	}
	apply(t, s, Update{RemoveAddress: []string{uid("new")}})
	expect("the other comes back", "old")
	if s.Snapshot().WorkloadAt(addr).Healthy {
		t.Error("came back with an outdated record")
	}
	apply(t, s, upsert(pod("new", nil, "10.0.0.1")))
	apply(t, s, upsert(pod("new", nil, "10.0.0.2")))
	expect("moved away", "old")
	apply(t, s, Update{RemoveAddress: []string{uid("old")}})
	expect("all gone", "")
	apply(t, s, Update{RemoveAddress: []string{uid("new")}, UpsertAddress: []*workload.Address{pod("third", nil, "10.0.0.2", "10.0.0.1")}})
	expect("taken over in one batch", "third")
}

func TestNotIndexedByAddress(t *testing.T) {
	s := NewStore(Options{Network: "n1"})
	snap := apply(t, s, upsert(
		pod("host", func(w *workload.Workload) { w.Network = "n1"; w.NetworkMode = workload.NetworkMode_HOST_NETWORK }, "10.0.0.1"),
		pod("far", func(w *workload.Workload) { w.Network = "n2" }, "10.0.0.2"),
	))
	for _, a := range []string{"10.0.0.1", "10.0.0.2"} {
		if snap.WorkloadAt(netip.MustParseAddr(a)) != nil {
			t.Errorf("%s is indexed", a)
		}
	}
	if snap.Workload(uid("host")) == nil || snap.Workload(uid("far")) == nil {
		t.Error("not known by uid")
	}
}

func TestServiceAt(t *testing.T) {
	private := func(s *workload.Service) { s.Visibility = workload.Service_NAMESPACE }
	canonical := func(s *workload.Service) { s.Canonical = true }
	s := NewStore(Options{})
	snap := apply(t, s, upsert(
		svc("a", "one", nil, "10.96.0.1"), svc("b", "one", canonical, "10.96.0.1"), svc("c", "one", nil, "10.96.0.1"), svc("z", "hidden", private, "10.96.0.1"),
		svc("z", "only", private, "10.96.0.2"),
		svc("a", "wide", nil, "10.0.0.0/8"), svc("b", "narrow", nil, "10.1.0.0/16"), svc("z", "block", private, "10.1.2.0/24"),
		svc("a", "six", nil, "fd00::/8"), svc("a", "exact6", nil, "fd00::1"),
	))
	for _, tt := range []struct{ addr, client, want string }{
		{"10.96.0.1", "c", "c/one"},
		{"10.96.0.1", "x", "b/one"},
		{"10.96.0.1", "z", "z/hidden"},
		{"::ffff:10.96.0.1", "x", "b/one"},
		{"10.96.0.2", "z", "z/only"},
		{"10.96.0.2", "x", "a/wide"},
		{"10.1.2.3", "x", "b/narrow"},
		{"10.1.2.3", "a", "a/wide"}, // own namespace beats the longer block
		{"10.1.2.3", "z", "z/block"},
		{"10.2.0.1", "z", "a/wide"},
		{"11.0.0.1", "a", ""},
		{"fd00::2", "x", "a/six"},
		{"fd00::1", "x", "a/exact6"},
		{"fe00::1", "x", ""},
	} {
		got := ""
		if v := snap.ServiceAt(netip.MustParseAddr(tt.addr), tt.client); v != nil {
			got = v.Key
		}
		if got != tt.want {
			t.Errorf("%s from %s: %q, want %q", tt.addr, tt.client, got, tt.want)
		}
	}
	if got := snap.ServiceOf("one"); got == nil || got.Key != "b/one" {
		t.Errorf("by hostname: %v", got)
	}
	if snap.ServiceOf("hidden") != nil || snap.ServiceOf("none") != nil {
		t.Error("by hostname: found what is private or not there")
	}
	if snap.ServiceAt(netip.Addr{}, "a") != nil {
		t.Error("found a service at no address")
	}
	// Blocks that are gone are not tried any more.
	snap = apply(t, s, Update{RemoveAddress: []string{"a/wide", "b/narrow", "z/block", "a/six"}})
	if len(snap.cidrs[0])+len(snap.cidrs[1]) != 0 || snap.ServiceAt(netip.MustParseAddr("10.1.2.3"), "a") != nil {
		t.Errorf("blocks left: %v", snap.cidrs)
	}
}

func names(eps []Endpoint) (out []string) {
	for _, e := range eps {
		out = append(out, e.Workload.Name)
	}
	slices.Sort(out)
	return out
}

func TestEndpoints(t *testing.T) {
	key := "shop/pay"
	s := NewStore(Options{})
	sick := func(w *workload.Workload) { in(key)(w); w.Status = workload.WorkloadStatus_UNHEALTHY }
	expect := func(what string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, names(s.Snapshot().Endpoints(s.Snapshot().Service(key)))); d != "" {
			t.Errorf("%s: -want +got\n%s", what, d)
		}
	}
	apply(t, s, upsert(pod("a", in(key), "10.0.0.1"), pod("b", sick, "10.0.0.2"), pod("c", nil, "10.0.0.3"), svc("shop", "pay", nil, "10.96.0.1")))
	expect("healthy only", "a")
	before := s.Snapshot()
	apply(t, s, upsert(pod("b", in(key), "10.0.0.2")))
	expect("became ready", "a", "b")
	if d := cmp.Diff([]string{"a"}, names(before.Endpoints(before.Service(key)))); d != "" {
		t.Errorf("an old snapshot changed: %s", d)
	}
	apply(t, s, upsert(pod("a", sick, "10.0.0.1")))
	expect("became unready", "b")
	apply(t, s, upsert(svc("shop", "pay", func(m *workload.Service) {
		m.LoadBalancing = &workload.LoadBalancing{HealthPolicy: workload.LoadBalancing_ALLOW_ALL}
	}, "10.96.0.1")))
	expect("publish all", "a", "b")
	apply(t, s, upsert(pod("b", nil, "10.0.0.2")))
	expect("left the service", "a")
	apply(t, s, Update{RemoveAddress: []string{uid("a")}})
	expect("removed")
	if n := s.Snapshot().members.size; n != 0 {
		t.Errorf("%d empty lists are kept", n)
	}
}

func TestRemovalNames(t *testing.T) {
	s := NewStore(Options{})
	odd := pod("x", func(w *workload.Workload) { w.Uid = "odd" }, "10.0.0.7")
	apply(t, s, upsert(pod("a", nil, "10.0.0.1"), svc("shop", "pay", nil), odd))
	snap := apply(t, s, Update{RemoveAddress: []string{uid("a"), "shop/pay", "odd", "never/seen", "never//seen", ""}})
	if w, v, _ := snap.Size(); w != 0 || v != 0 {
		t.Errorf("%d workloads and %d services are left", w, v)
	}
}

func TestPoliciesFor(t *testing.T) {
	s := NewStore(Options{})
	pols := []*security.Authorization{
		policy("root", "g", security.Scope_GLOBAL, security.Action_DENY, from("evil")),
		policy("shop", "ns", security.Scope_NAMESPACE, security.Action_ALLOW, from("shop")),
		policy("other", "ns", security.Scope_NAMESPACE, security.Action_ALLOW, from("shop")),
		policy("shop", "sel", security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW, from("x")),
		policy("shop", "sel2", security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW, from("x")),
	}
	apply(t, s, Update{UpsertPolicy: pols, UpsertAddress: []*workload.Address{pod("a", func(w *workload.Workload) {
		w.AuthorizationPolicies = []string{"shop/sel", "shop/new", "shop/ns"}
	}, "10.0.0.1")}})
	expect := func(what string, want, wantUnknown []string) {
		t.Helper()
		snap := s.Snapshot()
		for range 2 { // computed, then kept
			ps, unknown := snap.PoliciesFor(snap.Workload(uid("a")))
			var got []string
			for _, p := range ps {
				got = append(got, p.Key())
			}
			if d := cmp.Diff(want, got) + cmp.Diff(wantUnknown, unknown); d != "" {
				t.Errorf("%s: -want +got\n%s", what, d)
			}
		}
	}
	expect("at first", []string{"root/g", "shop/ns", "shop/sel"}, []string{"shop/new"})
	apply(t, s, Update{UpsertPolicy: []*security.Authorization{policy("shop", "new", security.Scope_WORKLOAD_SELECTOR, security.Action_DENY, nil)}, RemovePolicy: []string{"root/g"}})
	expect("one came, one went", []string{"shop/ns", "shop/sel", "shop/new"}, nil)
	apply(t, s, Update{UpsertPolicy: []*security.Authorization{policy("shop", "ns", security.Scope_GLOBAL, security.Action_ALLOW, nil)}})
	expect("scope changed", []string{"shop/ns", "shop/sel", "shop/new"}, nil)
	if ps, _ := s.Snapshot().PoliciesFor(&Workload{UID: "x", Namespace: "other"}); len(ps) != 2 {
		t.Errorf("a workload that is not in the snapshot: %d policies, want 2", len(ps))
	}
	apply(t, s, upsert(pod("a", nil, "10.0.0.1"))) // labels changed: no selector policy any more
	expect("labels changed", []string{"shop/ns"}, nil)
}
