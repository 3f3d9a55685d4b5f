package report

import "testing"

func samples() []Sample {
	var s []Sample
	for round, v := range []struct{ d, f, n, h, a float64 }{{10, 20, 60, 15, 30}, {100, 150, 90, 200, 180}, {10, 30, 20, 80, 40}} {
		for chain, x := range map[string]float64{Direct: v.d, Floor: v.f, "nginx": v.n, "haproxy": v.h, Mesh("std"): v.a} {
			s = append(s, Sample{Round: round, Workload: "w", Chain: chain, Metric: "p50", Unit: "us", Value: x})
		}
	}
	return s
}

func find(t *testing.T, rows []Row, chain, metric string) Row {
	t.Helper()
	for _, r := range rows {
		if r.Chain == chain && r.Metric == metric {
			return r
		}
	}
	t.Fatalf("no row %s %s", chain, metric)
	return Row{}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	r := find(t, Rows(samples()), Mesh("std"), "p50")
	// Same-round ratios to direct are 3, 1.8 and 4; dividing the medians (40/10) would say 4.
	if r.Median != 40 || r.Min != 30 || r.Max != 180 || *r.VsDirect != 3 || *r.VsFloor != 1.333 || r.Rounds != 3 {
		t.Errorf("row %+v, vs direct %v, vs floor %v", r, *r.VsDirect, *r.VsFloor)
	}
	// The better peer of each round: 15, 90 and 20.
	if *r.VsPeers != 2 || *r.VsPeersRange != [2]float64{2, 2} || *r.VsDirectRange != [2]float64{1.8, 4} {
		t.Errorf("vs peers %v in %v, vs direct in %v", *r.VsPeers, *r.VsPeersRange, *r.VsDirectRange)
	}
}

func TestBetterPeerHasMoreThroughput(t *testing.T) {
	r := Rows([]Sample{{Workload: "w", Chain: "nginx", Metric: "throughput", Value: 2}, {Workload: "w", Chain: "haproxy", Metric: "throughput", Value: 4},
		{Workload: "w", Chain: "x", Metric: "throughput", Value: 4}})
	if got := find(t, r, "x", "throughput"); *got.VsPeers != 1 {
		t.Errorf("vs peers %v", *got.VsPeers)
	}
}

func TestNodesAreComparedWithNodes(t *testing.T) {
	r := Rows(Derive([]Sample{{Workload: "w", Chain: Direct, Metric: "p50", Value: 100}, {Workload: "w", Chain: Node, Metric: "p50", Value: 10},
		{Workload: "w", Chain: Node + "-mtls", Metric: "p50", Value: 30}}))
	if got := find(t, r, Node+"-mtls", AddedP50); got.Median != 20 {
		t.Errorf("added %v", got.Median)
	}
	if got := find(t, r, Node+"-mtls", "p50"); *got.VsDirect != 3 {
		t.Errorf("vs no mesh %v", *got.VsDirect)
	}
}

func TestAddedLeavesOutDirect(t *testing.T) {
	s := []Sample{{Workload: "w", Chain: Direct, Metric: "p50", Value: 50}, {Workload: "w", Chain: "a", Metric: "p50", Value: 40},
		{Workload: "w", Chain: "b", Metric: "p50", Value: 70}}
	got := Derive(s)
	if len(got) != 5 || got[3].Metric != AddedP50 || got[3].Value != -10 || got[4].Chain != "b" || got[4].Value != 20 {
		t.Errorf("got %+v", got[3:])
	}
}

// TestLessThanNothing: what adds less than nothing has a ratio to what adds something, and nothing to it.
func TestLessThanNothing(t *testing.T) {
	s := []Sample{{Workload: "w", Chain: Direct, Metric: "p50", Value: 50}, {Workload: "w", Chain: "a", Metric: "p50", Value: 40},
		{Workload: "w", Chain: Floor, Metric: "p50", Value: 70}}
	if got := find(t, Rows(Derive(s)), "a", AddedP50); got.VsFloor == nil || *got.VsFloor != -0.5 {
		t.Errorf("got %+v", got)
	}
	s[1].Chain, s[2].Chain = Floor, "a"
	if got := find(t, Rows(Derive(s)), "a", AddedP50); got.VsFloor != nil {
		t.Errorf("got %+v of less than nothing", *got.VsFloor)
	}
}

func TestAgainstAlone(t *testing.T) {
	got := Derive([]Sample{{Round: 1, Workload: Alone, Chain: "a", Metric: "p99", Value: 10}, {Round: 1, Workload: Beside, Chain: "a", Metric: "p99", Value: 25},
		{Round: 2, Workload: Beside, Chain: "a", Metric: "p99", Value: 25}})
	if len(got) != 4 || got[3].Metric != Against || got[3].Value != 2.5 || got[3].Round != 1 {
		t.Errorf("got %+v", got[3:])
	}
}

func TestNoRatioWithoutBase(t *testing.T) {
	rows := Rows([]Sample{{Workload: "idle", Chain: "ambit", Metric: "rss", Value: 3}})
	if r := rows[0]; r.VsDirect != nil || r.VsFloor != nil || r.VsPeers != nil {
		t.Errorf("ratios without a base: %+v", rows[0])
	}
}

func TestSavedIsLoaded(t *testing.T) {
	dir := t.TempDir()
	if err := Save(dir, Rows(samples()), Machine{Kernel: "k"}); err != nil {
		t.Fatal(err)
	}
	rows, m, err := Load(dir)
	if err != nil || len(rows) != 5 || m.Kernel != "k" {
		t.Errorf("loaded %d rows of kernel %q, %v", len(rows), m.Kernel, err)
	}
}
