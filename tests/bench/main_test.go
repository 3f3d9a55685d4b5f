package main

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/load"
)

func TestSamplesGiveCPUPerOperation(t *testing.T) {
	l := workloads()[0]
	// A pod's cgroup has that of a proxy within it.
	accounts := append([]account{{metric: "cpu", cgroups: []string{"a", "b"}}, {metric: "none"}, {metric: "pod", cgroups: []string{"p"}, less: []string{"a"}}}, sides("proxy", []string{"a", "b"})...)
	s, err := l.samples("ambit-std", accounts, &load.Result{Count: 50_000, P50: 7, P99: 9, Rate: 100, CPU: []float64{5, 3, 9}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, x := range s[3:] { // after latency and rate
		got[x.Metric] = x.Value
	}
	want := map[string]float64{"cpu": 16, "pod": 8, "cpu of client proxy": 10, "cpu of server proxy": 6} // seconds over half of the unit
	if !maps.Equal(got, want) {
		t.Errorf("CPU %v, want %v", got, want)
	}
	if _, err := l.samples("ambit-std", accounts, &load.Result{Count: 1, P50: 7, CPU: []float64{5}}, nil); err == nil {
		t.Error("CPU time of one of three cgroups gives samples")
	}
	if _, err := l.samples("", accounts, &load.Result{}, nil); err == nil {
		t.Error("a run in which nothing was done gives samples")
	}
}

func TestField(t *testing.T) {
	if v, ok := load.Field("usage_usec 25\nuser_usec 1\n", "user_usec"); !ok || v != 1 {
		t.Errorf("field: %v %v", v, ok)
	}
	if _, ok := load.Field("usage_usec x\n", "usage_usec"); ok {
		t.Error("a word is taken for a number")
	}
}

func TestRelayWantsPairs(t *testing.T) {
	for _, args := range [][]string{nil, {"127.0.0.1:1"}, {"a", "b"}} {
		if relayMain(args) == nil {
			t.Errorf("relay %q was accepted", args)
		}
	}
}

func TestClientsAddUp(t *testing.T) {
	got := sum([]*load.Result{{Count: 1, Bytes: 10, Gbps: 2, CPU: []float64{3}}, {Count: 1, Bytes: 30, Gbps: 5}})
	if got.Count != 2 || got.Bytes != 40 || got.Gbps != 7 || len(got.CPU) != 1 || got.CPU[0] != 3 {
		t.Errorf("%+v, want both's bytes and the first one's CPU time", got)
	}
	c := chain{client: &lab.Pod{}, many: make([]*lab.Pod, 3)}
	for pods, want := range map[int]int{0: 1, 1: 1, 3: 3} {
		if x, err := c.from(pods); err != nil || len(x.clients()) != want {
			t.Errorf("load from %d pods: %d clients, %v, want %d", pods, len(x.clients()), err, want)
		}
	}
	if _, err := c.from(4); err == nil {
		t.Error("three clients do as four")
	}
}

func TestThroughputIsOfPods(t *testing.T) {
	got := map[string]int{}
	for _, l := range layout() {
		got[l.name] = l.pods
	}
	if got["ztunnel layout: throughput2"] != 2 || got["ztunnel layout: throughput8"] != 8 || got["ztunnel layout: latency"] != 0 {
		t.Errorf("clients: %v", got)
	}
}

func TestNoPolicyOfRbacMatches(t *testing.T) {
	policies, err := rbacSet()
	if err != nil || len(policies) != rbacPolicies {
		t.Fatalf("%d policies, %v", len(policies), err)
	}
	flow := &authz.Flow{SourceIP: netip.MustParseAddr("198.51.100.7"), Dest: netip.MustParseAddrPort("198.51.100.8:1")}
	if v := authz.Judge(flow, policies[:1], nil); !v.Allowed {
		t.Errorf("a flow without identity is refused: %+v", v)
	}
}
