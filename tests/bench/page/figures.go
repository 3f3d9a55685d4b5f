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

// figures are all charts that the figures give.
func (d *data) figures() []figure {
	var out []figure
	for _, w := range d.workloads() {
		if special(w) {
			continue
		}
		f := figure{slug(w) + ".svg", chart.Figure{Title: w}}
		for _, s := range shown {
			if rows := d.chains(w, s.metric); len(rows) > 0 {
				f.Panels = append(f.Panels, panel(title(s.title, s.metric, rows[0].Unit), rows))
			}
		}
		out = append(out, f)
	}
	for _, f := range []figure{d.cold(), d.memory(), d.snapshots()} {
		if len(f.Panels) > 0 {
			out = append(out, f)
		}
	}
	return out
}

// special are workloads that share a chart.
func special(w string) bool {
	for _, p := range []string{"memory ", "cold ", "snapshot ", "ztunnel layout: hbone", "ztunnel layout: rbac"} {
		if strings.HasPrefix(w, p) {
			return true
		}
	}
	return strings.HasSuffix(w, "pods on a node")
}

func panel(title string, rows []*report.Row) chart.Panel {
	p := chart.Panel{Title: title}
	for _, r := range rows {
		p.Bars = append(p.Bars, bar(r.Chain, class(r.Chain), r))
	}
	return p
}

func bar(label, class string, r *report.Row) chart.Bar {
	return chart.Bar{Label: label, Class: class, Median: r.Median, Min: r.Min, Max: r.Max}
}

func (d *data) cold() figure {
	f := figure{"cold-connect.svg", chart.Figure{Title: "cold connect to a new peer (others: X25519, full handshakes)"}}
	for _, w := range d.workloads() {
		if !strings.HasPrefix(w, "cold ") {
			continue
		}
		kind := "X25519MLKEM768"
		if strings.Contains(w, ", X25519") {
			kind = "X25519"
		}
		if strings.HasSuffix(w, report.Resumed) {
			kind += ", the mesh resumes"
		}
		for _, m := range []struct{ metric, title string }{{"cpu", "CPU, "}, {"p50", "median, "}} {
			if rows := d.chains(w, m.metric); len(rows) > 0 {
				f.Panels = append(f.Panels, panel(m.title+kind+", "+unitOf(rows[0].Unit), rows))
			}
		}
	}
	return f
}

func (d *data) memory() figure {
	f := figure{"memory.svg", chart.Figure{Title: "memory of both proxies"}}
	for _, w := range d.workloads() {
		conns, ok := strings.CutPrefix(w, "memory of both proxies, ")
		if !ok {
			continue
		}
		if rows := d.chains(w, "resident"); len(rows) > 0 {
			f.Panels = append(f.Panels, panel(conns+", MB (less is better)", rows))
		}
		if rows := d.chains(w, "each"); len(rows) > 0 {
			f.Panels = append(f.Panels, panel(conns+", KB for each in each proxy", rows))
		}
	}
	return f
}

// snapshots show what a growing configuration costs: a bar for each size.
func (d *data) snapshots() figure {
	f := figure{"snapshots.svg", chart.Figure{Title: "added latency with a growing configuration (" + d.ours() + ")"}}
	for _, what := range []string{report.Workloads, report.OtherPolicies, report.OwnPolicies} {
		for _, m := range []struct{ suffix, metric, title string }{
			{report.SizedPing, report.AddedP50, "ping-pong, added µs: "}, {report.SizedConnect, report.AddedP50, "connect, added µs: "},
			{"", "resident", "both ztunnels, MB: "}, {"", "known after", "known everywhere after s: "},
		} {
			if p := d.bySize(what, m.suffix, m.metric); len(p.Bars) > 0 {
				p.Title = m.title + what
				f.Panels = append(f.Panels, p)
			}
		}
	}
	return f
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
