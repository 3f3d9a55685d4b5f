package report

import "testing"

func samples() []Sample {
	var s []Sample
	for round, v := range []struct{ d, f, a float64 }{{10, 20, 30}, {100, 150, 180}, {10, 30, 40}} {
		s = append(s,
			Sample{Round: round, Workload: "w", Chain: Direct, Metric: "p50", Unit: "us", Value: v.d},
			Sample{Round: round, Workload: "w", Chain: Floor, Metric: "p50", Unit: "us", Value: v.f},
			Sample{Round: round, Workload: "w", Chain: "ambit", Metric: "p50", Unit: "us", Value: v.a})
	}
	return s
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	rows := Rows(samples())
	r := rows[2]
	// Same-round ratios to direct are 3, 1.8 and 4; dividing the medians (40/10) would say 4.
	if r.Chain != "ambit" || r.Median != 40 || r.Min != 30 || r.Max != 180 || *r.VsDirect != 3 || *r.VsFloor != 1.333 || r.Rounds != 3 {
		t.Errorf("row %+v, vs direct %v, vs floor %v", r, *r.VsDirect, *r.VsFloor)
	}
}

func TestAddedLeavesOutDirectAndNoise(t *testing.T) {
	s := append(samples(), Sample{Round: 3, Workload: "w", Chain: Direct, Metric: "p50", Value: 50}, Sample{Round: 3, Workload: "w", Chain: "ambit", Metric: "p50", Value: 40})
	got := Added(s, "p50")
	if len(got) != 6 {
		t.Fatalf("%d samples, want 6: %+v", len(got), got)
	}
	if got[1].Metric != "added_p50" || got[1].Value != 20 {
		t.Errorf("got %+v", got[1])
	}
}

func TestNoRatioWithoutBase(t *testing.T) {
	rows := Rows([]Sample{{Workload: "idle", Chain: "ambit", Metric: "rss", Value: 3}})
	if rows[0].VsDirect != nil || rows[0].VsFloor != nil {
		t.Errorf("ratios without a base: %+v", rows[0])
	}
}
