package page

import (
	"fmt"

	"github.com/ambitmesh/ambit/tests/bench/chart"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// verdict of one condition.
type verdict struct {
	target, goal, measured, verdict string
}

const notMeasured = "not measured"

// judge compares one figure with its bound.
func judge(target, goal string, got *float64, format string, hit func(float64) bool) verdict {
	if got == nil {
		return verdict{target, goal, "-", notMeasured}
	}
	v := verdict{target, goal, fmt.Sprintf(format, *got), "**miss**"}
	if hit(*got) {
		v.verdict = "hit"
	}
	return v
}

func atMost(bound float64) func(float64) bool { return func(x float64) bool { return x <= bound } }

func atLeast(bound float64) func(float64) bool { return func(x float64) bool { return x >= bound } }

// ratios of a row, by what it is divided by.
const (
	byDirect = "D"
	byFloor  = "F"
	byPeers  = "peers"
)

// bound is a target that is a same-round ratio.
type bound struct {
	target, workload, metric string
	by                       string
	limit                    float64
	least                    bool
}

func (d *data) ratio(b bound) verdict {
	goal, hit := fmt.Sprintf("<= %g %s", b.limit, b.by), atMost(b.limit)
	if b.least {
		goal, hit = fmt.Sprintf(">= %g %s", b.limit, b.by), atLeast(b.limit)
	}
	var got *float64
	var span *[2]float64
	if r := d.row(b.workload, d.ours(), b.metric); r != nil {
		got, span = pick(r, b.by)
	}
	v := judge(b.target, goal, got, "%.2f "+b.by, hit)
	if got != nil && span != nil {
		v.measured += fmt.Sprintf(" (%.2f to %.2f)", span[0], span[1])
	}
	return v
}

func pick(r *report.Row, by string) (*float64, *[2]float64) {
	switch by {
	case byDirect:
		return r.VsDirect, r.VsDirectRange
	case byFloor:
		return r.VsFloor, r.VsFloorRange
	}
	return r.VsPeers, r.VsPeersRange
}

func ping(conns string) string { return "ping-pong 1024 B, " + conns }

const (
	one     = "1 connection"
	sixteen = "16 connections"
	many    = "128 connections"
	pooled  = "connect, request, close, 16 at once"
)

var ratioTargets = []bound{
	{"added p50, 1 KiB, c=1", ping(one), report.AddedP50, byFloor, 0.95, false},
	{"added p50, 1 KiB, c=1", ping(one), report.AddedP50, byPeers, 0.85, false},
	{"added p50, 1 KiB, c=16", ping(sixteen), report.AddedP50, byFloor, 1.3, false},
	{"added p50, 1 KiB, c=16", ping(sixteen), report.AddedP50, byPeers, 0.9, false},
	{"added p50, 1 KiB, c=128", ping(many), report.AddedP50, byFloor, 0.95, false},
	{"added p50, 1 KiB, c=128", ping(many), report.AddedP50, byPeers, 0.65, false},
	{"p99, 1 KiB, c=16", ping(sixteen), "p99", byFloor, 1.5, false},
	{"p99, 1 KiB, c=128", ping(many), "p99", byFloor, 1.5, false},
	{"CPU per request, both proxies, c=1", ping(one), "cpu", byFloor, 0.95, false},
	{"CPU per request, both proxies, c=16", ping(sixteen), "cpu", byFloor, 0.75, false},
	{"CPU per request, both proxies, c=16", ping(sixteen), "cpu", byPeers, 0.5, false},
	{"CPU per request, both proxies, c=128", ping(many), "cpu", byFloor, 0.55, false},
	{"CPU per request, both proxies, c=128", ping(many), "cpu", byPeers, 0.3, false},
	{"new connections on pooled tunnels, 16 at once", pooled, "rate", byFloor, 1.1, true},
	{"new connections on pooled tunnels, 16 at once", pooled, "rate", byPeers, 5, true},
	{"new connections on pooled tunnels, 16 at once", pooled, "rate", byDirect, 0.4, true},
	{"cold connect, X25519, CPU, against full handshakes", report.Cold + ", X25519", "cpu", byPeers, 0.9, false},
	{"the same, resumed", report.Cold + ", X25519" + report.Resumed, "cpu", byPeers, 0.7, false},
	{"download, 1 stream", "download, 1 stream", "throughput", byFloor, 0.65, true},
	{"download, 1 stream", "download, 1 stream", "throughput", byPeers, 1.6, true},
	{"download, 8 streams", "download, 8 streams", "throughput", byFloor, 0.65, true},
	{"download, 8 streams", "download, 8 streams", "throughput", byPeers, 1.6, true},
	{"upload, 1 stream", "upload, 1 stream", "throughput", byFloor, 0.65, true},
	{"upload, 1 stream", "upload, 1 stream", "throughput", byPeers, 1.6, true},
	{"upload, 8 streams", "upload, 8 streams", "throughput", byFloor, 0.65, true},
	{"upload, 8 streams", "upload, 8 streams", "throughput", byPeers, 1.6, true},
	{"ping p50 during bulk", "ping-pong 1024 B during bulk", "p50", byDirect, 4, false},
	{"bulk during that ping", "ping-pong 1024 B during bulk", "bulk meanwhile", byPeers, 1.3, true},
}

func (d *data) targets() []verdict {
	var out []verdict
	for _, b := range ratioTargets {
		out = append(out, d.ratio(b))
	}
	for _, w := range []string{"download, 1 stream", "download, 8 streams", "upload, 1 stream", "upload, 8 streams"} {
		out = append(out, judge("CPU per GB, "+w, "<= F + 0.45 s", d.less(w, d.ours(), report.Floor, "cpu"), "F %+.2f s", atMost(0.45)))
	}
	out = append(out, d.memoryTargets()...)
	out = append(out, d.nodeTargets()...)
	out = append(out, d.fairness())
	for _, what := range []string{report.Workloads, report.OtherPolicies, report.OwnPolicies} {
		out = append(out, d.flat(what))
	}
	return out
}

func (d *data) value(workload, chain, metric string, f float64) *float64 {
	r := d.row(workload, chain, metric)
	if r == nil {
		return nil
	}
	v := r.Median * f
	return &v
}

// less is the difference of two chains' medians.
func (d *data) less(workload, a, b, metric string) *float64 {
	x, y := d.value(workload, a, metric, 1), d.value(workload, b, metric, 1)
	if x == nil || y == nil {
		return nil
	}
	v := *x - *y
	return &v
}

// over is the ratio of two chains' medians.
func (d *data) over(workload, a, b, metric string) *float64 {
	x, y := d.value(workload, a, metric, 1), d.value(workload, b, metric, 1)
	if x == nil || y == nil || *y == 0 {
		return nil
	}
	v := *x / *y
	return &v
}

func (d *data) memoryTargets() []verdict {
	none, all := report.Idle(0), report.Idle(10_000)
	return []verdict{
		judge("idle tunnel, user memory per proxy", "<= 1 KB", d.value(all, d.ours(), "each", 1), "%.2f KB", atMost(1)),
		d.resident("ztunnel at rest", none, 15),
		d.resident("ztunnel with 10,000 idle tunnels", all, 25),
		judge("10,000 workloads, 1,000 services and 1,000 policies in ztunnel", "<= 40 MB more",
			d.value(report.Configured(10_000, 1_000), d.ours(), report.Added, 0.5), "%.1f MB", atMost(40)),
	}
}

// resident judges one of two proxies, by what it takes in the end.
func (d *data) resident(target, workload string, limit float64) verdict {
	v := judge(target, fmt.Sprintf("<= %g MB", limit), d.value(workload, d.ours(), "resident", 0.5), "%.1f MB", atMost(limit))
	if early := d.value(workload, d.ours(), report.Unsettled, 0.5); early != nil {
		v.measured += fmt.Sprintf(", %.1f after 2 s", *early)
	}
	return v
}

// nodeTargets are those of pods of one node, at each number of connections.
func (d *data) nodeTargets() []verdict {
	var out []verdict
	for _, c := range []struct{ name, conns string }{{"c=1", one}, {"c=16", sixteen}, {"c=128", many}} {
		out = append(out, d.nodeDirect(c.name, ping(c.conns))...)
	}
	for _, c := range []struct{ name, conns string }{{"c=1", one}, {"c=16", sixteen}, {"c=128", many}} {
		out = append(out, d.nodeProxy(c.name, ping(c.conns))...)
	}
	return out
}

func (d *data) nodeDirect(c, workload string) []verdict {
	var out []verdict
	for _, m := range []struct {
		name, metric string
		hit          func(float64) bool
	}{{"p50", "p50", atMost(1.03)}, {"rate", "rate", atLeast(0.97)}, {"CPU of all", "cpu of all", atMost(1.03)}} {
		v := judge("same node, direct, 1 KiB, "+c+": "+m.name, "within 3 % of no mesh", nil, "", m.hit)
		if r := d.row(workload, report.Node+"-direct", m.metric); r != nil && r.VsDirect != nil {
			v = judge(v.target, v.goal, r.VsDirect, "%.3f of no mesh", m.hit)
			if s := r.VsDirectRange; s != nil {
				v.measured += fmt.Sprintf(" (%.3f to %.3f)", s[0], s[1])
			}
		}
		out = append(out, v)
	}
	return out
}

func (d *data) nodeProxy(c, workload string) []verdict {
	var out []verdict
	for _, m := range []struct{ name, metric string }{{"added p50", report.AddedP50}, {"CPU", "cpu"}} {
		got := d.over(workload, report.Node+"-proxy", report.Node+"-mtls", m.metric)
		out = append(out, judge("same node, proxy, 1 KiB, "+c+": "+m.name, "<= 0.6 of two hops", got, "%.2f of node-mtls", atMost(0.6)))
	}
	return out
}

// fairness compares with no mesh: client, proxy and neighbour share a CPU there too.
func (d *data) fairness() verdict {
	v := judge("p99 beside a pod at full load", "<= 1.5 of p99 alone", d.value(report.Beside, d.ours(), report.Against, 1), "%.2f of p99 alone", atMost(1.5))
	if none := d.value(report.Beside, report.Direct, report.Against, 1); none != nil && v.verdict != notMeasured {
		v.measured += fmt.Sprintf(" (no mesh: %.2f)", *none)
	}
	return v
}

// flat compares connects with the fullest snapshot that was measured to those with the emptiest.
func (d *data) flat(what string) verdict {
	least, most := 0, 0
	for _, w := range d.workloads() {
		n, ok := sizeOf(w, what, report.SizedConnect)
		if !ok || d.row(w, d.ours(), report.AddedP50) == nil {
			continue
		}
		if least == 0 || n < least {
			least = n
		}
		most = max(most, n)
	}
	target := "added p50 of a connect, " + what
	if most == least {
		return verdict{target, "flat", "-", notMeasured}
	}
	at := func(n int) float64 {
		return *d.value(report.Snapshot(n, what)+report.SizedConnect, d.ours(), report.AddedP50, 1)
	}
	ratio := at(most) / at(least)
	v := judge(target, "flat: <= 1.25", &ratio, "%.2f", atMost(1.25))
	v.measured += fmt.Sprintf(" (%s to %s)", chart.Count(least), chart.Count(most))
	return v
}
