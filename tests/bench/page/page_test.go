package page

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ambitmesh/ambit/tests/bench/report"
)

func sample(workload, chain, metric string, v float64) report.Sample {
	return report.Sample{Workload: workload, Chain: chain, Metric: metric, Unit: "us", Value: v}
}

func someRows() []report.Row {
	return report.Rows(report.Derive([]report.Sample{
		sample(ping(one), report.Direct, "p50", 50), sample(ping(one), report.Floor, "p50", 100),
		sample(ping(one), "nginx", "p50", 90), sample(ping(one), "ambit-std", "p50", 80), sample(ping(one), "ambit-loop", "p50", 95),
		sample(pooled, "nginx", "rate", 10), sample(pooled, "ambit-loop", "rate", 49),
		sample(ping(sixteen), report.Node, "rate", 100), sample(ping(sixteen), "node-direct", "rate", 96),
		sample(ping(many), report.Node, "cpu of all", 100), sample(ping(many), "node-direct", "cpu of all", 102),
		sample(ping(sixteen), "node-mtls", "cpu", 10), sample(ping(sixteen), "node-proxy", "cpu", 5),
	}))
}

func TestTargetsSayHitMissAndNotMeasured(t *testing.T) {
	d := &data{rows: someRows()}
	want := map[string]string{
		"added p50, 1 KiB, c=1 <= 0.95 F":                                   "hit",      // 45 of 50
		"added p50, 1 KiB, c=1 <= 0.85 peers":                               "**miss**", // 45 of 40
		"new connections on pooled tunnels, 16 at once >= 5 peers":          "**miss**",
		"new connections on pooled tunnels, 16 at once >= 1.1 F":            notMeasured,
		"idle tunnel, user memory per proxy <= 1 KB":                        notMeasured,
		"same node, direct, 1 KiB, c=1: p50 within 3 % of no mesh":          notMeasured,
		"same node, proxy, 1 KiB, c=1: added p50 <= 0.6 of two hops":        notMeasured,
		"CPU per request, both proxies, c=1 <= 0.95 F":                      notMeasured,
		"the same, resumed <= 0.7 peers":                                    notMeasured,
		"same node, direct, 1 KiB, c=16: rate within 3 % of no mesh":        "**miss**",
		"same node, direct, 1 KiB, c=128: CPU of all within 3 % of no mesh": "hit",
		"same node, proxy, 1 KiB, c=16: CPU <= 0.6 of two hops":             "hit",
		"same node, proxy, 1 KiB, c=128: added p50 <= 0.6 of two hops":      notMeasured,
		"ping p50 during bulk <= 4 D":                                       notMeasured,
	}
	for _, v := range d.targets() {
		key := v.target + " " + v.goal
		if w, ok := want[key]; ok && v.verdict != w {
			t.Errorf("%s: %s (%s), want %s", key, v.verdict, v.measured, w)
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("no such targets: %v", want)
	}
}

func TestFlatComparesTheEndsOfASweep(t *testing.T) {
	var s []report.Sample
	for n, us := range map[int]float64{1: 110, 100: 115, 5000: 140} {
		w := report.Snapshot(n, report.OwnPolicies) + report.SizedConnect
		s = append(s, sample(w, report.Direct, "p50", 100), sample(w, report.Mesh("std"), "p50", us))
	}
	d := &data{rows: report.Rows(report.Derive(s))}
	if v := d.flat(report.OwnPolicies); v.measured != "4.00 (1 to 5,000)" || v.verdict != "**miss**" {
		t.Errorf("%+v", v)
	}
	if v := d.flat(report.Workloads); v.verdict != notMeasured {
		t.Errorf("%+v", v)
	}
}

func TestWriteReplacesCharts(t *testing.T) {
	dir := t.TempDir()
	gone, others := filepath.Join(dir, "gone.svg"), filepath.Join(dir, "others.svg")
	for f, text := range map[string]string{gone: "", others: "", filepath.Join(dir, "README.md"): "![gone](gone.svg)\n"} {
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Write(dir, someRows(), report.Machine{Kernel: "9.9"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(gone); err == nil {
		t.Error("a chart of no workload is still there")
	}
	if _, err := os.Stat(others); err != nil {
		t.Errorf("a chart of another page is gone: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		_, file, ok := strings.Cut(strings.TrimSpace(line), "](")
		if !ok || !strings.HasPrefix(line, "![") {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, strings.TrimSuffix(file, ")"))); err != nil {
			t.Errorf("the page shows %q: %v", line, err)
		}
	}
	if !strings.Contains(string(b), "Linux 9.9") {
		t.Error("the page does not describe the machine")
	}
}

func TestRivalsSayHitMissAndNotMeasured(t *testing.T) {
	d := &data{rows: report.Rows(report.Derive([]report.Sample{
		sample(ping(one), "ambit-loop", "cpu", 60), sample(ping(one), "ztunnel", "cpu", 100), sample(ping(one), "envoy", "cpu", 80),
		sample(pooled, "ambit-loop", "rate", 12), sample(pooled, "ztunnel", "rate", 10),
	}))}
	for _, x := range []struct{ workload, metric, rival, want string }{
		{ping(one), "cpu", "ztunnel", "0.60 (0.60 to 0.60)"}, {ping(one), "cpu", "envoy", "**0.75 (0.75 to 0.75)**"},
		{ping(one), "cpu", "linkerd2-proxy", notMeasured}, {pooled, "rate", "ztunnel", "**1.20 (1.20 to 1.20)**"}, {ping(many), "cpu", "ztunnel", notMeasured},
	} {
		i := slices.IndexFunc(rivalGoals, func(g bound) bool { return g.workload == x.workload && g.metric == x.metric })
		if got := d.rival(rivalGoals[i], x.rival); got != x.want {
			t.Errorf("%s of %s beside %s: %s, want %s", x.metric, x.workload, x.rival, got, x.want)
		}
	}
}

// Every workload has a chart, or is named by the one that it shares.
func TestEachWorkloadHasAChart(t *testing.T) {
	var all []report.Sample
	add := func(w, metric string) { all = append(all, sample(w, report.Mesh("loop"), metric, 2)) }
	for w, metric := range map[string]string{ping(one): "p50", report.Cold: "cpu", report.Cold + report.Resumed: "p50", "ztunnel layout: hbone_connections": "p50",
		"ztunnel layout: rbac": "each", "50 pods on a node": "per pod", report.Idle(0): "resident", report.Configured(10, 1): report.Added} {
		add(w, metric)
	}
	for _, what := range []string{report.Workloads, report.OtherPolicies, report.OwnPolicies} {
		add(report.Snapshot(100, what), "resident")
		add(report.Snapshot(100, what)+report.SizedPing, report.AddedP50)
		add(report.Snapshot(100, what)+report.SizedConnect, report.AddedP50)
	}
	d := &data{rows: report.Rows(all)}
	charts, files := map[string]int{}, map[string]bool{}
	for _, f := range d.figures() {
		if files[f.file] || len(f.Panels) == 0 {
			t.Errorf("%s is there twice, or shows nothing", f.file)
		}
		files[f.file] = true
		for _, w := range append(f.Of, f.Title) {
			w, _, _ = strings.Cut(w, " (")
			charts[w]++
		}
	}
	for _, w := range d.workloads() {
		if charts[w] != 1 {
			t.Errorf("%d charts name %q", charts[w], w)
		}
	}
	text := string(d.text(d.figures()))
	for _, w := range d.workloads() {
		if !strings.Contains(text, w) {
			t.Errorf("the page does not name %q", w)
		}
	}
}

func TestFewerConnectionsAreTold(t *testing.T) {
	held := func(chain string, n int, v float64) []report.Sample {
		out := []report.Sample{sample(report.Idle(10_000), chain, "each", v), sample(report.Idle(10_000), chain, "resident", v)}
		for i := range out {
			out[i].Connections = n
		}
		return out
	}
	d := &data{rows: report.Rows(slices.Concat(held("envoy", 9750, 100), held("ztunnel", 10_000, 50), held("ambit-loop", 10_000, 20)))}
	text := string(d.text(d.figures()))
	for _, want := range []string{"`envoy` held 9,750:", "(*: 9,750)", "| 0.20 (0.20 to 0.20), theirs with 9,750 |", "**0.40 (0.40 to 0.40)** |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestProcessesAreInMicroseconds(t *testing.T) {
	var all []report.Sample
	for metric, v := range map[string]float64{"cpu of client": 0.5, "cpu of client proxy": 1.2, "cpu of server proxy": 1.3, "cpu of client agent": 0, "cpu of server": 0.4} {
		all = append(all, sample(ping(sixteen), "ambit-loop", metric, v))
	}
	d := &data{rows: report.Rows(all)}
	if text := string(d.text(nil)); !strings.Contains(text, "| `ambit-loop` | 5.00 | 12.0 | 0 | 13.0 | - | 4.00 |") {
		t.Error("no such line in:\n" + text)
	}
}
