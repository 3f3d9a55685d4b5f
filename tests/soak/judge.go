package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Verdict is one thing that must hold.
type Verdict struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Unit  string  `json:"unit"`
	OK    bool    `json:"ok"`
}

func (v Verdict) String() string {
	word := "holds"
	if !v.OK {
		word = "FAILS"
	}
	return fmt.Sprintf("%s: %s: %.4g, at most %.4g %s", word, v.What, v.Value, v.Limit, v.Unit)
}

func atMost(what string, value, limit float64, unit string) Verdict {
	return Verdict{what, value, limit, unit, value <= limit}
}

// shortest is a run that is long enough to speak of growth: series of metrics live on for 15 minutes, so
// only what comes later can be level.
const shortest = 35 * time.Minute

func (r *Result) judge(o options) {
	failed := 0
	for _, t := range r.Traffic {
		failed += t.Failed
	}
	r.Verdicts = []Verdict{
		atMost("failed calls", float64(failed), 0, "calls"),
		atMost("other failures", float64(len(r.Failures)), 0, "failures"),
		atMost("counts that stayed higher", float64(len(missing(r.Before, r.After))), 0, "counts"),
	}
	if r.Grown = o.duration >= shortest; r.Grown {
		r.Verdicts = append(r.Verdicts, r.growth()...)
	}
	r.OK = len(r.Samples) > 0 && !slices.ContainsFunc(r.Verdicts, func(v Verdict) bool { return !v.OK })
}

// A process may grow by this much in the second half of the run: what a garbage collector leaves to chance.
const (
	growthShare = 0.05
	growthFixed = 1 // MB
	seriesFixed = 20
)

// growth judges, by the median slope over the second half, what each process gained in that time. Series are
// judged over all nodes at once: they are those of the pods there, and pods come back on another node.
func (r *Result) growth() (out []Verdict) {
	half := r.secondHalf()
	for _, name := range r.parts() {
		memory := gained(half, func(x Sample) float64 { return x.Parts[name].Anon })
		out = append(out, atMost("memory gained, "+name, memory.gain, growthFixed+growthShare*memory.middle, "MB"))
	}
	for _, kind := range r.kinds() {
		series := gained(half, func(x Sample) float64 { return x.series(kind) })
		out = append(out, atMost("series gained, "+kind, series.gain, seriesFixed+growthShare*series.middle, "lines"))
	}
	return out
}

// kindOf is what the program of a part is called: "ztunnel" for "ztunnel of node-a".
func kindOf(part string) string {
	kind, _, _ := strings.Cut(part, " of ")
	return kind
}

func (r *Result) kinds() (out []string) {
	for _, name := range r.parts() {
		if kind := kindOf(name); !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	return out
}

// series counts those of all parts of a kind.
func (x Sample) series(kind string) (sum float64) {
	for name, part := range x.Parts {
		if kindOf(name) == kind {
			sum += float64(part.Series)
		}
	}
	return sum
}

func (r *Result) secondHalf() []Sample { return r.Samples[len(r.Samples)/2:] }

func (r *Result) parts() []string { return slices.Sorted(maps.Keys(r.Before.Parts)) }

// spare is what a quiet count may be higher than before: a scrape or a connection under way.
func spare(before int) int { return before + 8 + before/10 }

// missing says which counts are not back where they were.
func missing(before, after Sample) (out []string) {
	check := func(what string, b, a int) {
		if a > spare(b) {
			out = append(out, fmt.Sprintf("%s: %d before, %d after", what, b, a))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before.Parts)) {
		b, a := before.Parts[name], after.Parts[name]
		check("descriptors of "+name, b.Files, a.Files)
		check("goroutines of "+name, b.Goroutines, a.Goroutines)
		check("threads of "+name, b.Threads, a.Threads)
	}
	for node, maps := range before.Maps {
		for name, n := range maps {
			check(node+", map "+name, n, after.Maps[node][name])
		}
	}
	slices.Sort(out)
	return out
}
