package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// render writes the page and its chart.
func (r *Result) render(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory for the page: %w", err)
	}
	svg := r.chart([]panel{
		{"Memory of its own (RssAnon), MB", func(p Part) float64 { return p.Anon }},
		{"Descriptors", func(p Part) float64 { return float64(p.Files) }},
		{"Goroutines", func(p Part) float64 { return float64(p.Goroutines) }},
	})
	return errors.Join(os.WriteFile(filepath.Join(dir, "soak.svg"), []byte(svg), 0o644),
		os.WriteFile(filepath.Join(dir, "soak.md"), []byte(r.page()), 0o644))
}

func (r *Result) page() string {
	var b strings.Builder
	m := r.Machine
	word := "Nothing grew by more than its limit, and no call failed"
	switch {
	case !r.OK:
		word = "**Not all held**: see below"
	case !r.Grown:
		word = "No call failed; the run was too short to speak of growth"
	}
	fmt.Fprintf(&b, `# %s of churn

%s. Two nodes of a lab on one machine, engine `+"`%s`"+`, under steady traffic while pods come and go with the
addresses of others, labels, policies and services change, and the agent, the proxy and the controller are
each killed or replaced once in the first half.

`+"`make soak`"+` repeats it (root; `+"`DURATION=1h ENGINE=loop`"+` are the defaults) and writes this page and
`+"`dist/soak/results.json`"+`.

![Memory, descriptors and goroutines of each process](soak.svg)

Measured %s with %s on %s, %s, Linux %s, %.0f GB, %s; load of the machine before the run %s: it did other
work meanwhile, so the times say little.

`, r.Duration, word, r.Engine, m.Date, m.Ambit, m.CPU, m.System, m.Kernel, m.MemoryGB, m.Go, m.Load)
	r.processes(&b)
	r.calls(&b)
	r.changes(&b)
	r.verdicts(&b)
	return b.String()
}

// processes compares the quiet mesh before and after, and shows the second half's slope.
func (r *Result) processes(b *strings.Builder) {
	b.WriteString(`## Processes

Quiet is before and after all traffic. A slope is the median of those between all pairs of samples in the
second half.

| process | quiet before: own + program's MB | under churn, median | quiet after | own MB gained in the second half | descriptors | goroutines | metrics' series gained | CPU |
|---|---|---|---|---|---|---|---|---|
`)
	half := r.secondHalf()
	for _, name := range r.parts() {
		before, after := r.Before.Parts[name], r.After.Parts[name]
		memory := gained(half, func(x Sample) float64 { return x.Parts[name].Anon })
		series := gained(half, func(x Sample) float64 { return float64(x.Parts[name].Series) })
		fmt.Fprintf(b, "| %s | %.1f + %.1f | %.1f | %.1f + %.1f | %+.2f | %d → %d | %d → %d | %+.0f of %.0f | %.1f %% |\n", name,
			before.Anon, before.File, memory.middle, after.Anon, after.File, memory.gain,
			before.Files, after.Files, before.Goroutines, after.Goroutines, series.gain, series.middle, 100*share(half, name))
	}
	higher := missing(r.Before, r.After)
	if len(higher) == 0 {
		fmt.Fprintf(b, "\nAll counts were back %.0f s after the last call.\n\n", r.Settled)
		return
	}
	fmt.Fprintf(b, "\nStill higher %.0f s after the last call:\n\n", r.Settled)
	for _, m := range higher {
		fmt.Fprintf(b, "* %s\n", m)
	}
	b.WriteString("\n")
}

// share is how much of one CPU a process used.
func share(half []Sample, name string) float64 {
	if len(half) < 2 {
		return 0
	}
	a, z := half[0], half[len(half)-1]
	return (z.Parts[name].CPU - a.Parts[name].CPU) / (z.At - a.At)
}

func (r *Result) calls(b *strings.Builder) {
	b.WriteString("## Calls\n\nEach is a connection of its own: connect, banner, ping, close.\n\n| from and to | good | failed | p50 ms | p99 ms | longest ms |\n|---|---|---|---|---|---|\n")
	for _, t := range r.Traffic {
		fmt.Fprintf(b, "| %s | %d | %d | %.1f | %.1f | %.0f |\n", t.Name, t.OK, t.Failed, t.P50, t.P99, t.Max)
	}
	fmt.Fprintf(b, "\nBeside them %.1f GB in transfers whose bytes were all checked, %d policies that refused what they should, and %d lines of access log.\n\n",
		float64(r.Bytes)/1e9, r.Refused, r.Logged)
}

func (r *Result) changes(b *strings.Builder) {
	b.WriteString("## Changes\n\n| what | times |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(r.Events)) {
		fmt.Fprintf(b, "| %s | %d |\n", name, r.Events[name])
	}
	fmt.Fprintf(b, "\nEntries of the kernel's maps, quiet before and after:\n\n| map | node-a | node-b |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(r.Before.Maps["node-a"])) {
		fmt.Fprintf(b, "| %s |", name)
		for _, node := range []string{"node-a", "node-b"} {
			fmt.Fprintf(b, " %d → %d |", r.Before.Maps[node][name], r.After.Maps[node][name])
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func (r *Result) verdicts(b *strings.Builder) {
	b.WriteString("## Verdicts\n\n| | figure | at most | holds |\n|---|---|---|---|\n")
	for _, v := range r.Verdicts {
		fmt.Fprintf(b, "| %s | %.3g %s | %.3g | %s |\n", v.What, v.Value, v.Unit, v.Limit, map[bool]string{true: "yes", false: "**no**"}[v.OK])
	}
	for _, f := range r.Failures {
		fmt.Fprintf(b, "\n* %s\n", f)
	}
}
