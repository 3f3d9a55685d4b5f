package page

import (
	"bytes"
	"fmt"

	"github.com/ambitmesh/ambit/tests/bench/chart"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// rivalGoals hold for each rival alike.
var rivalGoals = []bound{
	{"added p50, 1 KiB, c=1", ping(one), report.AddedP50, "", 0.8, false},
	{"added p50, 1 KiB, c=16", ping(sixteen), report.AddedP50, "", 0.8, false},
	{"added p50, 1 KiB, c=128", ping(many), report.AddedP50, "", 0.8, false},
	{"CPU per request, 1 KiB, c=1", ping(one), "cpu", "", 0.7, false},
	{"CPU per request, 1 KiB, c=16", ping(sixteen), "cpu", "", 0.7, false},
	{"CPU per request, 1 KiB, c=128", ping(many), "cpu", "", 0.7, false},
	{"connects, 1 at once", "connect, request, close, 1 at once", "rate", "", 1.3, true},
	{"connects, 16 at once", pooled, "rate", "", 1.3, true},
	{"CPU per GB, download, 1 stream", "download, 1 stream", "cpu", "", 1, false},
	{"CPU per GB, download, 8 streams", "download, 8 streams", "cpu", "", 1, false},
	{"CPU per GB, upload, 1 stream", "upload, 1 stream", "cpu", "", 1, false},
	{"CPU per GB, upload, 8 streams", "upload, 8 streams", "cpu", "", 1, false},
	{"memory with 1,000 idle connections", report.Idle(1000), "resident", "", 0.3, false},
	{"memory with 10,000 idle connections", report.Idle(10_000), "resident", "", 0.3, false},
}

// rivals is a table of our figures as multiples of those of proxies that not every machine has.
func (d *data) rivals(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## Beside other meshes' proxies\n\n`%s` as a multiple of each, in the same round; in brackets are the least and the greatest. A miss is bold.\n\n| | goal |", d.ours())
	for _, name := range report.Rivals {
		fmt.Fprintf(b, " `%s` |", name)
	}
	b.WriteString("\n|---|---|---|---|---|\n")
	for _, g := range rivalGoals {
		sign := "<="
		if g.least {
			sign = ">="
		}
		fmt.Fprintf(b, "| %s | %s %g |", g.target, sign, g.limit)
		for _, name := range report.Rivals {
			fmt.Fprintf(b, " %s |", d.rival(g, name))
		}
		b.WriteString("\n")
	}
}

func (d *data) rival(g bound, name string) string {
	r := d.row(g.workload, d.ours(), g.metric)
	if r == nil {
		return notMeasured
	}
	v, ok := r.VsRivals[name]
	if !ok {
		return notMeasured
	}
	text := fmt.Sprintf("%.2f (%.2f to %.2f)", v.Median, v.Range[0], v.Range[1])
	if x := d.row(g.workload, name, g.metric); x != nil && x.Connections != r.Connections {
		text += fmt.Sprintf(", theirs with %s", chart.Count(x.Connections))
	}
	if hit := atMost(g.limit); g.least && v.Median < g.limit || !g.least && !hit(v.Median) {
		return "**" + text + "**"
	}
	return text
}
