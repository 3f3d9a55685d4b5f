package main

import (
	"math"
	"testing"
)

func samples(values ...float64) (out []Sample) {
	for i, v := range values {
		out = append(out, Sample{At: float64(15 * i), Parts: map[string]Part{"p": {Anon: v, Files: int(v)}}})
	}
	return out
}

func anon(x Sample) float64 { return x.Parts["p"].Anon }

func TestGained(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   float64
	}{
		"a line":              {[]float64{10, 11, 12, 13, 14}, 4},
		"teeth":               {[]float64{10, 14, 10, 14, 10, 14, 10, 14, 10}, 0},
		"one outlier":         {[]float64{10, 10, 90, 10, 10, 10}, 0},
		"teeth that climb":    {[]float64{10, 14, 12, 16, 14, 18, 16, 20, 18}, 8},
		"less and less":       {[]float64{14, 13, 12, 11, 10}, -4},
		"too few for a slope": {[]float64{14}, 0},
	} {
		if got := gained(samples(c.values...), anon).gain; math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: gained %g, want %g", name, got, c.want)
		}
	}
}

func TestMissing(t *testing.T) {
	s := samples(10, 19, 40)
	if got := missing(s[0], s[1]); len(got) != 0 {
		t.Errorf("within what is to spare: %q", got)
	}
	if got := missing(s[0], s[2]); len(got) != 1 {
		t.Errorf("40 descriptors instead of 10: %q", got)
	}
}

// TestJudge: a process that climbs, a failed call, and a run that ended before its first sample fail.
func TestJudge(t *testing.T) {
	level := make([]float64, 100)
	climbs := make([]float64, 100)
	for i := range level {
		level[i], climbs[i] = 20+float64(i%7), 20+float64(i)/10
	}
	run := func(values []float64, failed int) bool {
		s := samples(values...)
		r := &Result{Before: samples(20)[0], After: samples(20)[0], Samples: s, Traffic: []*Traffic{{Failed: failed}}}
		r.judge(options{duration: shortest})
		return r.OK
	}
	if !run(level, 0) {
		t.Error("a level run fails")
	}
	if run(climbs, 0) {
		t.Error("a run that climbs holds")
	}
	if run(level, 1) {
		t.Error("a failed call holds")
	}
	if run(nil, 0) {
		t.Error("a run without samples holds")
	}
}

// TestPodsMove: what one node's series lose the other's gain, which is no growth; both climbing is.
func TestPodsMove(t *testing.T) {
	run := func(a, b func(i int) int) bool {
		r := &Result{}
		for i := range 100 {
			r.Samples = append(r.Samples, Sample{At: float64(i), Parts: map[string]Part{
				"ztunnel of a": {Series: a(i)}, "ztunnel of b": {Series: b(i)},
			}})
		}
		r.Before, r.After = r.Samples[0], r.Samples[0]
		r.judge(options{duration: shortest})
		return r.OK
	}
	climbs := func(i int) int { return 1000 + 3*i }
	if !run(climbs, func(i int) int { return 1300 - 3*i }) {
		t.Error("pods that move from one node to the other fail")
	}
	if run(climbs, climbs) {
		t.Error("two nodes that climb hold")
	}
}
