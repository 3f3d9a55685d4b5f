package page

import (
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/tests/bench/report"
)

// data finds figures.
type data struct {
	rows    []report.Row
	machine report.Machine
}

// row finds one; nil if it was not measured.
func (d *data) row(workload, chain, metric string) *report.Row {
	for i := range d.rows {
		if r := &d.rows[i]; r.Workload == workload && r.Chain == chain && r.Metric == metric {
			return r
		}
	}
	return nil
}

// workloads are their names, in order.
func (d *data) workloads() []string {
	var out []string
	for _, r := range d.rows {
		if !slices.Contains(out, r.Workload) {
			out = append(out, r.Workload)
		}
	}
	return out
}

// ours is the chain that targets are about: the loop engine, once it was measured.
func (d *data) ours() string {
	best := report.Mesh("std")
	for _, r := range d.rows {
		if r.Chain == report.Mesh("loop") {
			best = r.Chain
		}
	}
	return best
}

var order = []string{report.Direct, report.Floor, "nginx", "haproxy", "envoy", "linkerd2-proxy", "ztunnel", report.Mesh("std"), report.Mesh("loop"), "plain-std", "plain-loop",
	report.Node, report.Node + "-mtls", report.Node + "-proxy", report.Node + "-direct", "judge"}

// chains that have a metric of a workload, in the order in which charts show them.
func (d *data) chains(workload, metric string) []*report.Row {
	var out []*report.Row
	for i := range d.rows {
		if r := &d.rows[i]; r.Workload == workload && r.Metric == metric {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b *report.Row) int { return slices.Index(order, a.Chain) - slices.Index(order, b.Chain) })
	return out
}

// class is the kind of a chain, by which charts choose a colour.
func class(chain string) string {
	switch {
	case chain == report.Direct || chain == report.Node:
		return "none"
	case chain == report.Floor:
		return "floor"
	case slices.Contains(report.Peers, chain) || slices.Contains(report.Rivals, chain):
		return "peer"
	}
	return "mesh"
}

// slug makes a file's name of a workload's.
func slug(s string) string {
	f := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(f, "-")
}
