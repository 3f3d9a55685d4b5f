package mesh

import (
	"fmt"
	"runtime"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// cluster makes what a controller sends of a cluster with this many workloads: one service and one policy for
// each ten, on a node for each fifty.
func cluster(tb testing.TB, workloads int) Update {
	tb.Helper()
	u := synced
	add := func(name string, a *workload.Address) {
		body, err := anypb.New(a)
		if err != nil {
			tb.Fatal(err)
		}
		if err := u.AddAddress(name, fmt.Sprintf("%016x", len(u.UpsertAddress)), body); err != nil {
			tb.Fatal(err)
		}
	}
	for i := range workloads {
		s := i / 10
		host := fmt.Sprintf("service-%d.team-%d.svc.cluster.local", s, s%50)
		w := &workload.Workload{
			Uid: fmt.Sprintf("Kubernetes//Pod/team-%d/service-%d-7d45dd7b89-%05d", s%50, s, i), Name: fmt.Sprintf("service-%d-7d45dd7b89-%05d", s, i),
			Namespace: fmt.Sprintf("team-%d", s%50), ServiceAccount: fmt.Sprintf("service-%d", s), TrustDomain: "cluster.local",
			Node: fmt.Sprintf("node-%d.example.internal", i/50), ClusterId: "Kubernetes", TunnelProtocol: workload.TunnelProtocol_HBONE,
			CanonicalName: fmt.Sprintf("service-%d", s), CanonicalRevision: "latest", WorkloadName: fmt.Sprintf("service-%d", s), WorkloadType: workload.WorkloadType_DEPLOYMENT,
			Addresses: [][]byte{{10, byte(i >> 16), byte(i >> 8), byte(i)}}, Locality: &workload.Locality{Region: "region-1", Zone: fmt.Sprintf("zone-%d", i/50%3)},
			AuthorizationPolicies: []string{fmt.Sprintf("team-%d/policy-%d", s%50, s)},
			Services:              map[string]*workload.PortList{fmt.Sprintf("team-%d/%s", s%50, host): {Ports: []*workload.Port{{ServicePort: 80, TargetPort: 8080}, {ServicePort: 9090, TargetPort: 9090}}}},
		}
		add(w.GetUid(), &workload.Address{Type: &workload.Address_Workload{Workload: w}})
	}
	for s := range workloads / 10 {
		host := fmt.Sprintf("service-%d.team-%d.svc.cluster.local", s, s%50)
		v := &workload.Service{Name: fmt.Sprintf("service-%d", s), Namespace: fmt.Sprintf("team-%d", s%50), Hostname: host,
			Addresses: []*workload.NetworkAddress{{Address: []byte{172, 16, byte(s >> 8), byte(s)}}}, Ports: []*workload.Port{{ServicePort: 80, TargetPort: 8080}, {ServicePort: 9090, TargetPort: 9090}}}
		add(v.GetNamespace()+"/"+host, &workload.Address{Type: &workload.Address_Service{Service: v}})
		m := &security.Match{Principals: []*security.StringMatch{
			{MatchType: &security.StringMatch_Exact{Exact: fmt.Sprintf("cluster.local/ns/team-%d/sa/service-%d", s%50, s+1)}},
			{MatchType: &security.StringMatch_Exact{Exact: "cluster.local/ns/ingress/sa/gateway"}}}, DestinationPorts: []uint32{8080}}
		p := policy(fmt.Sprintf("team-%d", s%50), fmt.Sprintf("policy-%d", s), security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW, m)
		body, err := anypb.New(p)
		if err != nil {
			tb.Fatal(err)
		}
		u.AddPolicy(p.GetNamespace()+"/"+p.GetName(), "1", body)
	}
	return u
}

// BenchmarkMemory reports what a configuration takes of the heap, once it is applied.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				s := NewStore(Options{})
				apply(b, s, cluster(b, n))
				b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
				b.ReportMetric(float64(heap()-before)/float64(n), "B/workload")
				runtime.KeepAlive(s)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
