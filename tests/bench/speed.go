package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/tests/bench/report"
)

// speed measures every workload on every chain, round after round.
func (r *runner) speed(ctx context.Context) (err error) {
	w, err := r.build(ctx, r.speedPlan())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	w.chains = slices.DeleteFunc(w.chains, func(c chain) bool { return !r.wanted(c.name) || !r.verified(ctx, w, c) })
	for _, c := range w.chains {
		r.machine.Chains[c.name] = c.what
	}
	jobs := r.jobs()
	begin := time.Now()
	for round := range r.o.rounds {
		for i, l := range jobs {
			say("round %d of %d, %d of %d: %s", round+1, r.o.rounds, i+1, len(jobs), l.name)
			r.one(ctx, w, l, round)
			if ctx.Err() != nil {
				return fmt.Errorf("round %d: %w", round+1, ctx.Err())
			}
		}
		say("speed: round %d of %d, %s so far", round+1, r.o.rounds, time.Since(begin).Round(time.Second))
	}
	return nil
}

func (r *runner) jobs() []workload {
	return slices.DeleteFunc(workloads(), func(l workload) bool { return !strings.Contains(l.name, r.o.only) })
}

func (r *runner) speedPlan() plan {
	p := plan{relays: true, tools: r.tools}
	for _, l := range r.jobs() {
		p.clients = max(p.clients, l.pods)
	}
	for _, e := range r.has.engines {
		if r.wanted(report.Mesh(e)) || r.wanted("plain-"+e) {
			p.engines = append(p.engines, e)
		}
	}
	for _, s := range r.has.sameNode {
		if r.wanted(report.Node + "-" + s) {
			p.sameNode = append(p.sameNode, s)
		}
	}
	p.tools = slices.DeleteFunc(slices.Clone(p.tools), func(t tool) bool { return !r.wanted(t.Name) })
	return p
}

// wanted says whether a chain is to be measured; those that others are divided by always are.
func (r *runner) wanted(name string) bool {
	return len(r.o.chains) == 0 || slices.Contains(r.o.chains, name) || name == report.Direct || name == report.Floor || name == report.Node
}

// verified leaves out a chain that does not take its path: its figures would be another's.
func (r *runner) verified(ctx context.Context, w *world, c chain) bool {
	if err := w.verify(ctx, c); err != nil {
		r.fail(c.name, "verification", err)
		return false
	}
	say("verified: %s is %s", c.name, c.what)
	return true
}

// one measures a workload on all chains; another chain is first in each round.
func (r *runner) one(ctx context.Context, w *world, l workload, round int) {
	for i := range w.chains {
		c := w.chains[(i+round)%len(w.chains)]
		if !l.runs(c) || ctx.Err() != nil {
			continue
		}
		s, err := w.measure(ctx, c, l, r.o.each)
		if err != nil {
			r.fail(c.name, fmt.Sprintf("%s, round %d", l.name, round+1), err)
			continue
		}
		r.add(round, s...)
		w.trim(c)
	}
}

// trim empties the access logs: they are written, and not kept.
func (w *world) trim(c chain) {
	for _, name := range []string{c.client.Node.Name, strings.TrimSuffix(c.client.Node.Name, "-a") + "-b"} {
		os.Truncate(w.lab.AccessLog(name), 0) // there may be none
	}
}
