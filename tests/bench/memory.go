package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/tests/bench/report"
)

// memory measures resident memory of the proxies at rest and with idle connections, each chain in a fresh
// lab: a proxy that has just moved gigabytes is not at rest.
func (r *runner) memory(ctx context.Context) error {
	plans := []struct {
		chain string
		plan  plan
	}{{report.Floor, plan{relays: true}}}
	for _, e := range r.has.engines {
		plans = append(plans, struct {
			chain string
			plan  plan
		}{report.Mesh(e), plan{engines: []string{e}}})
	}
	for _, t := range r.tools {
		plans = append(plans, struct {
			chain string
			plan  plan
		}{t.Name, plan{tools: []tool{t}}})
	}
	for _, p := range plans {
		if !r.wanted(p.chain) {
			continue
		}
		if err := r.idle(ctx, p.chain, p.plan); err != nil {
			r.fail(p.chain, "memory", err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("memory: %w", ctx.Err())
		}
	}
	for i, e := range r.has.engines {
		if r.o.quick && i < len(r.has.engines)-1 {
			continue // one is enough to see that it works
		}
		if err := r.configured(ctx, e, r.o.configured); err != nil {
			r.fail(report.Mesh(e), "memory of a configuration", err)
		}
	}
	return nil
}

func (r *runner) idle(ctx context.Context, name string, p plan) (err error) {
	w, err := r.build(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if w.broken[name] != nil {
		return nil // told already
	}
	c := w.chain(name)
	early, rest, err := settled(ctx, c.proxies)
	if err != nil {
		return err
	}
	r.add(0, memorySample(name, 0, "resident", "MB", rest.all/1e6), memorySample(name, 0, report.Unsettled, "MB", early.all/1e6))
	for _, n := range r.o.idle {
		actual := min(n, most(c))
		h, err := w.hold(ctx, c, actual)
		if err != nil {
			return err
		}
		early, full, err := settled(ctx, c.proxies)
		h.release()
		if err != nil {
			return err
		}
		each := (full.own - rest.own) / 1e3 / float64(actual) / float64(len(c.proxies))
		for _, s := range []report.Sample{memorySample(name, n, "each", "KB", each),
			memorySample(name, n, "resident", "MB", full.all/1e6), memorySample(name, n, report.Unsettled, "MB", early.all/1e6)} {
			s.Connections = actual
			r.add(0, s)
		}
		say("%s, %d idle connections: %.1f MB (%.1f after 2 s), %.2f KB for each in each proxy", name, actual, full.all/1e6, early.all/1e6, each)
	}
	return nil
}

// most is how many connections a chain can hold: each takes two files of a relay or another proxy.
func most(c chain) int {
	const spare = 500
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || !c.pair {
		return math.MaxInt
	}
	return int(l.Cur-spare) / 2
}

// chain finds one by name.
func (w *world) chain(name string) chain {
	return w.chains[slices.IndexFunc(w.chains, func(c chain) bool { return c.name == name })]
}

func memorySample(chain string, conns int, metric, unit string, v float64) report.Sample {
	return report.Sample{Workload: report.Idle(conns), Chain: chain, Metric: metric, Unit: unit, Value: v}
}
