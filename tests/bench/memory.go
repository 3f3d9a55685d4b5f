package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ambitmesh/ambit/tests/bench/report"
)

// memory measures resident memory of the proxies at rest and with idle connections, each chain in a
// fresh lab.
func memory(ctx context.Context, o options) ([]report.Sample, error) {
	var out []report.Sample
	for _, c := range []struct {
		name  string
		conns []int
	}{
		// A process that holds both legs of each connection meets the usual limit of 20,000 open files.
		{report.Floor, []int{o.idle[0], o.idleOne}}, {"ambit", o.idle}, {"ambit-node", []int{o.idleOne}},
	} {
		s, err := idleMemory(ctx, o, c.name, c.conns)
		if err != nil {
			return nil, err
		}
		out = append(out, s...)
	}
	return out, nil
}

const settle = 2 * time.Second // for what a start or a burst leaves behind to be collected

func idleMemory(ctx context.Context, o options, name string, conns []int) (out []report.Sample, err error) {
	w, err := build(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	c := w.chains[slices.IndexFunc(w.chains, func(c chain) bool { return c.name == name })]
	rest, err := w.residentOf(ctx, c)
	if err != nil {
		return nil, err
	}
	out = append(out, memorySample(name, 0, "resident", "MB", rest/1e6))
	for _, n := range slices.Compact(conns) {
		h, err := w.hold(ctx, c, n)
		if err != nil {
			return nil, err
		}
		full, err := w.residentOf(ctx, c)
		h.release()
		if err != nil {
			return nil, err
		}
		out = append(out, memorySample(name, n, "resident", "MB", full/1e6), memorySample(name, n, "each", "KB", (full-rest)/1e3/float64(n)))
		say("%s, %d idle connections: %.1f MB", name, n, full/1e6)
	}
	return out, nil
}

func memorySample(chain string, conns int, metric, unit string, v float64) report.Sample {
	return report.Sample{Workload: fmt.Sprintf("memory of all proxies, %d idle connections", conns), Chain: chain, Metric: metric, Unit: unit, Value: v}
}

// residentOf sums the resident bytes of the chain's proxies.
func (w *world) residentOf(ctx context.Context, c chain) (float64, error) {
	select {
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for quiet: %w", ctx.Err())
	case <-time.After(settle):
	}
	var pids []int
	switch {
	case c.relays:
		for _, p := range w.relays {
			pids = append(pids, p.PID())
		}
	default:
		pids = append(pids, w.lab.Node("node-a").Ztunnel().PID())
		if c.path == "tunnel" {
			pids = append(pids, w.lab.Node("node-b").Ztunnel().PID())
		}
	}
	sum := 0.0
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, fmt.Errorf("read memory: %w", err)
		}
		kb, ok := field(string(b), "VmRSS:")
		if !ok {
			return 0, fmt.Errorf("process %d has no resident memory", pid)
		}
		sum += kb * 1024
	}
	return sum, nil
}
