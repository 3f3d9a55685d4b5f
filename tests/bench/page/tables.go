package page

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/ambitmesh/ambit/tests/bench/chart"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// sidecar compares with what a proxy in each pod is known to cost: 5 to 10 ms a hop, 50 to 100 MB a pod.
func (d *data) sidecar(b *bytes.Buffer) {
	added, per, pods := "not measured", "not measured", "50 pods on a node"
	if v := d.value(ping(one), d.ours(), report.AddedP50, 1e-3); v != nil {
		added = fmt.Sprintf("%.3f ms for both hops", *v)
	}
	for _, w := range d.workloads() {
		if v := d.value(w, d.ours(), "per pod", 1); v != nil {
			per, pods = fmt.Sprintf("%.2f MB", *v), w
		}
	}
	fmt.Fprintf(b, "\n## Beside a sidecar\n\nA proxy in every pod is commonly said to cost 5 to 10 ms a hop and 50 to 100 MB a pod. (That figure is not measured here.)\n\n| | a proxy in every pod | `%s` |\n|---|---|---|\n| added median latency, 1 KiB, one connection | 5 to 10 ms a hop | %s |\n| memory per pod, ztunnel and agent, %s | 50 to 100 MB | %s |\n", d.ours(), added, pods, per)
}

// layout is a table with the lines of the benchmarks of Istio's ztunnel.
func (d *data) layout(b *bytes.Buffer) {
	fmt.Fprint(b, "\n## In the layout of Istio's ztunnel\n\nIts own benchmarks (`benches/throughput.rs`) measure these lines; `tcp` is one ztunnel towards a pod without, `hbone` two, ours and, where the machine has\nit, theirs. Its latency is that of a write of 1 KiB, for which no answer is awaited. Its `rbac` judges a connection without identity\nby 10,000 policies of 10 rules (of port 0; here 1, for 0 is no port). As there, each client is a pod of its own with one connection. What differs: here clients write for a fixed time,\nthere 1 GiB in all; here `connections` ends with the far end's close, there with the answer; here `hbone_connections` goes from one pod to many\nacross nodes and shows the median, there between many addresses of one ztunnel.\n\n| line | direct | tcp | hbone | hbone of Istio's |\n|---|---:|---:|---:|---:|\n")
	engine := strings.TrimPrefix(d.ours(), report.Mesh(""))
	cell := func(w, chain, metric, unit string) string {
		v := d.value(w, chain, metric, 1)
		if v == nil {
			return "-"
		}
		return chart.Number(*v) + " " + unit
	}
	for _, l := range []struct{ name, metric, unit string }{
		{"throughput1", "throughput", "Gb/s"}, {"throughput2", "throughput", "Gb/s"}, {"throughput8", "throughput", "Gb/s"},
		{"latency", "p50", "µs"}, {"connections", "rate", "/s"}, {"hbone_connections", "p50", "µs"},
	} {
		w := "ztunnel layout: " + l.name
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", l.name, cell(w, report.Direct, l.metric, l.unit), cell(w, "plain-"+engine, l.metric, l.unit), cell(w, d.ours(), l.metric, l.unit), cell(w, "ztunnel", l.metric, l.unit))
	}
	fmt.Fprintf(b, "| rbac | %s | | | |\n", cell("ztunnel layout: rbac", "judge", "each", "µs"))
}

// processes is a table of the CPU time of each process for a request.
func (d *data) processes(b *bytes.Buffer) {
	columns := []struct {
		name    string
		metrics []string
	}{{"client", []string{"cpu of client"}}, {"its proxy", []string{"cpu of client proxy", "cpu of proxy"}}, {"its agent", []string{"cpu of client agent", "cpu of agent"}},
		{"the server's proxy", []string{"cpu of server proxy"}}, {"the server's agent", []string{"cpu of server agent"}}, {"server", []string{"cpu of server"}}}
	rows := d.chains(ping(sixteen), "cpu of client")
	if len(rows) == 0 {
		return
	}
	fmt.Fprint(b, "\n## CPU time of each process\n\nFor ping-pong of 1 KiB on 16 connections, µs for a request, medians. On one node both ends have the same proxy and agent.\nAll other workloads' are in [results.json](results.json).\n\n| chain |")
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.name)
	}
	fmt.Fprint(b, "\n|---|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| `%s` |", r.Chain)
		for _, c := range columns {
			cell := "-"
			for _, m := range c.metrics {
				if v := d.value(ping(sixteen), r.Chain, m, 10); v != nil { // from seconds for 100,000
					cell = chart.Number(*v)
				}
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		fmt.Fprint(b, "\n")
	}
}
