package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/load"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// generator is a running load generator.
type generator struct {
	p        *lab.Process
	out, err bytes.Buffer
}

// start starts a job in a pod over a chain. Its result says how much CPU each cgroup used meanwhile.
func (w *world) start(pod *lab.Pod, args []string, watched ...string) (*generator, error) {
	g := &generator{}
	var env []string
	if len(watched) > 0 {
		env = []string{load.CPUVar + "=" + strings.Join(watched, ";")}
	}
	err := w.places.on(w.places.of(pod.Node.Name), func() (err error) {
		g.p, err = pod.Start(lab.Command{Args: append([]string{w.exe, "load"}, args...), Env: env, Stdout: &g.out, Stderr: &g.err})
		return err
	})
	return g, err
}

const generatorLimit = 30 * time.Second // beyond the measured time

func (g *generator) result(ctx context.Context, d time.Duration) (*load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*d+generatorLimit)
	defer cancel()
	if err := g.p.Wait(ctx); err != nil {
		if g.p.Running() {
			err = errors.Join(err, g.p.Kill())
		}
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(g.err.Bytes()))
	}
	var r load.Result
	if err := json.Unmarshal(g.out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("decode %q: %w", g.out.Bytes(), err)
	}
	if r.Failed > 0 {
		return nil, fmt.Errorf("%d of %d operations failed", r.Failed, r.Failed+r.Count)
	}
	return &r, nil
}

const lead = 200 * time.Millisecond // of a load in the background

const fewest = 40 // operations; with less, the whole machine stood still

// measure runs one workload over one chain; once more, and again, if the machine stood still.
func (w *world) measure(ctx context.Context, c chain, l workload, each time.Duration) (s []report.Sample, err error) {
	if c, err = c.from(l.pods); err != nil {
		return nil, err
	}
	least := fewest
	if l.beside != nil {
		each, least = 2*each, 1 // what stands still is then the chain
	}
	for range 3 {
		r, noise, err := w.once(ctx, c, l, each)
		if err != nil {
			return nil, err
		}
		if r.Gbps > 0 || r.Count >= least {
			return l.samples(c.name, c.accounts(), r, noise)
		}
	}
	return nil, errors.New("the machine stood still three times")
}

func (w *world) once(ctx context.Context, c chain, l workload, each time.Duration) (r, noise *load.Result, err error) {
	if err := w.quiet(ctx, c); err != nil {
		return nil, nil, err
	}
	var back *generator
	if b := l.beside; b != nil {
		pod := c.client
		if b.other {
			pod = c.other
		}
		if back, err = w.start(pod, b.args(c.at(b.role), each*5/4+lead)); err != nil {
			return nil, nil, err
		}
		time.Sleep(lead)
	}
	if r, err = w.together(ctx, c, l.job, each); err == nil && back != nil {
		noise, err = back.result(ctx, each)
	}
	return r, noise, err
}

// quiet waits until the chain's proxies do nothing more for an earlier workload, or for a second at most.
func (w *world) quiet(ctx context.Context, c chain) error {
	const step, idle = 10 * time.Millisecond, 0.0005
	last := -1.0
	for range 100 {
		now, err := load.CPU(c.proxies)
		if err != nil || last >= 0 && now-last < idle {
			return err
		}
		last = now
		if ctx.Err() != nil {
			return fmt.Errorf("wait for quiet: %w", ctx.Err())
		}
		time.Sleep(step)
	}
	return nil
}

// samples are the figures of one run.
func (l workload) samples(chain string, accounts []account, r, noise *load.Result) ([]report.Sample, error) {
	var out []report.Sample
	add := func(metric, unit string, v float64) {
		out = append(out, report.Sample{Workload: l.name, Chain: chain, Metric: metric, Unit: unit, Value: v})
	}
	done := float64(r.Count)
	if r.Gbps > 0 {
		done = float64(r.Bytes)
		add("throughput", "Gb/s", r.Gbps)
	} else {
		add("p50", "us", r.P50)
		add("p99", "us", r.P99)
		add("rate", "1/s", r.Rate)
	}
	if done == 0 {
		return nil, errors.New("nothing was done")
	}
	if noise != nil {
		add("bulk meanwhile", "Gb/s", noise.Gbps)
		return out, nil
	}
	cpu, err := charge(accounts, r.CPU)
	for _, a := range accounts {
		if v, ok := cpu[a.metric]; ok {
			add(a.metric, l.unit, v/done*l.per)
		}
	}
	return out, err
}
