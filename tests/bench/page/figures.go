package page

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ambitmesh/ambit/tests/bench/chart"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// figure is a chart and the file that it goes to.
type figure struct {
	file string
	chart.Figure
}

// shown are the metrics of a workload's chart, in their order.
var shown = []struct{ metric, title string }{
	{"p50", "median latency"}, {"p99", "99th percentile of latency"}, {"throughput", "throughput"}, {"rate", "rate"},
	{"cpu", "CPU of the proxies"}, {"bulk meanwhile", "the bulk streams meanwhile"}, {report.Against, "p99 as a multiple of p99 alone"},
	{"resident", "resident memory"}, {"each", "for each"}, {report.Added, "more than at rest"}, {"ztunnel and agent", "ztunnel and agent"}, {"per pod", "for each pod"},
}

var units = map[string]string{"us": "µs", "1/s": "per second", "x": "times"}

func unitOf(unit string) string {
	if u, ok := units[unit]; ok {
		return u
	}
	return unit
}

func title(name, metric, unit string) string {
	unit = unitOf(unit)
	if report.More(metric) {
		return fmt.Sprintf("%s, %s (more is better)", name, unit)
	}
	return fmt.Sprintf("%s, %s (less is better)", name, unit)
}

// figures are all charts that the figures give: one for each workload, but that snapshots share one by kind.
func (d *data) figures() []figure {
	var out []figure
	for _, w := range d.workloads() {
		if strings.HasPrefix(w, "snapshot ") {
			continue
		}
		f := figure{slug(w) + ".svg", chart.Figure{Title: d.titled(w)}}
		for _, s := range shown {
			if rows := d.chains(w, s.metric); len(rows) > 0 {
				f.Panels = append(f.Panels, panel(title(s.title, s.metric, rows[0].Unit), rows))
			}
		}
		out = append(out, f)
	}
	return append(out, d.snapshots()...)
}

// titled is a workload's name as its chart's title, with what must be known of others' bars.
func (d *data) titled(w string) string {
	switch {
	case strings.HasPrefix(w, report.Cold):
		return w + " (others: X25519, full handshakes)"
	case strings.HasPrefix(w, memory):
		for _, r := range d.chains(w, "resident") {
			if fewer(r) {
				return fmt.Sprintf("%s (*: %s)", w, chart.Count(r.Connections))
			}
		}
	}
	return w
}

const memory = "memory of both proxies"

// fewer says whether a chain held fewer connections than its workload's name says.
func fewer(r *report.Row) bool { return r.Connections > 0 && r.Workload != report.Idle(r.Connections) }

func panel(title string, rows []*report.Row) chart.Panel {
	p := chart.Panel{Title: title}
	for _, r := range rows {
		label := r.Chain
		if fewer(r) {
			label += "*"
		}
		p.Bars = append(p.Bars, bar(label, class(r.Chain), r))
	}
	return p
}

func bar(label, class string, r *report.Row) chart.Bar {
	return chart.Bar{Label: label, Class: class, Median: r.Median, Min: r.Min, Max: r.Max}
}

// snapshots show what a growing configuration costs, a chart for each kind and a bar for each size.
func (d *data) snapshots() []figure {
	var out []figure
	for _, what := range []string{report.Workloads, report.OtherPolicies, report.OwnPolicies} {
		f := figure{"snapshots-" + slug(what) + ".svg", chart.Figure{Title: "snapshots of " + what + " (" + d.ours() + ")"}}
		for _, m := range []struct{ suffix, metric, title string }{
			{report.SizedPing, report.AddedP50, "ping-pong 1024 B, 1 connection: added p50, µs"},
			{report.SizedConnect, report.AddedP50, "connect, request, close, 1 at once: added p50, µs"},
			{"", "resident", "both ztunnels, MB"}, {"", "known after", "known everywhere after, s"},
		} {
			if p := d.bySize(what, m.suffix, m.metric); len(p.Bars) > 0 {
				p.Title = m.title + ", by size"
				f.Panels = append(f.Panels, p)
			}
		}
		for _, w := range d.workloads() {
			if _, ok := kindOf(w, what); ok {
				f.Of = append(f.Of, w)
			}
		}
		if len(f.Panels) > 0 {
			out = append(out, f)
		}
	}
	return out
}

// kindOf finds the size in the name of any workload that a kind of snapshot has.
func kindOf(workload, what string) (int, bool) {
	for _, suffix := range []string{"", report.SizedPing, report.SizedConnect} {
		if n, ok := sizeOf(workload, what, suffix); ok {
			return n, true
		}
	}
	return 0, false
}

func (d *data) bySize(what, suffix, metric string) chart.Panel {
	var p chart.Panel
	for _, w := range d.workloads() {
		n, ok := sizeOf(w, what, suffix)
		if !ok {
			continue
		}
		if r := d.row(w, d.ours(), metric); r != nil {
			p.Bars = append(p.Bars, bar(chart.Count(n), "mesh", r))
		}
	}
	return p
}

// sizeOf is the size that a workload's name says, if it is about that kind of snapshot.
func sizeOf(workload, what, suffix string) (int, bool) {
	size, ok := strings.CutPrefix(workload, "snapshot of ")
	size, ok2 := strings.CutSuffix(size, " "+what+suffix)
	n, err := strconv.Atoi(size)
	return n, ok && ok2 && err == nil
}
