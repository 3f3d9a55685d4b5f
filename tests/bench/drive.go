package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/peers"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

type tool = peers.Tool

// runner is one run of the benchmark.
type runner struct {
	o       options
	has     features
	tools   []tool
	machine report.Machine
	samples []report.Sample
}

// drive measures. What fails is left out, told, and makes the run fail at its end; what was measured is
// kept in every case.
func drive(ctx context.Context, o options) error {
	if err := lab.Unusable(); err != nil {
		return err
	}
	r := &runner{o: o, machine: report.ThisMachine()}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	begin := time.Now()
	var errs []error
	for _, step := range o.steps {
		say("%s", step)
		if err := r.steps()[step](ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", step, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	r.machine.Took = time.Since(begin).Round(time.Second).String()
	if n := len(r.machine.Failures); n > 0 {
		errs = append(errs, fmt.Errorf("%d measurements failed: %s", n, strings.Join(r.machine.Failures, "; ")))
	}
	return errors.Join(append(errs, r.save(ctx))...)
}

func (r *runner) steps() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{"speed": r.speed, "cold": r.cold, "memory": r.memory, "snapshot": r.snapshot}
}

func (r *runner) prepare(ctx context.Context) error {
	var err error
	if r.has, err = probe(ctx, r.o.bin); err != nil {
		return err
	}
	var skipped []string
	r.tools, skipped = peers.Find(ctx, filepath.Join(r.o.out, "peers"), getenv)
	at, err := newPlaces(r.o.pin)
	if err != nil {
		return err
	}
	r.machine.Ambit = versionOf(ctx, r.o.bin)
	r.machine.CPUs = [2][]int{at.a, at.b}
	r.machine.Rounds, r.machine.Each, r.machine.Quick = r.o.rounds, r.o.each.String(), r.o.quick
	r.machine.Chains = map[string]string{}
	r.machine.Skipped = slices.Concat(r.has.skipped, skipped)
	for _, s := range r.machine.Skipped {
		say("skipped: %s", s)
	}
	r.machine.Missing = append(prioritize(r.o.nice), raiseFiles()...)
	for _, s := range r.machine.Missing {
		say("cannot set %s", s)
	}
	return nil
}

func (r *runner) fail(chain, what string, err error) {
	if errors.Is(err, context.Canceled) {
		return // the run was stopped
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	say("FAILED: %s over %s: %v", what, chain, err)
	r.machine.Failures = append(r.machine.Failures, fmt.Sprintf("%s over %s: %s", what, chain, first))
}

// build makes a world, and tells of other proxies that do not start.
func (r *runner) build(ctx context.Context, p plan) (*world, error) {
	w, err := build(ctx, r.o, r.has, p)
	if err != nil {
		return nil, err
	}
	for name, err := range w.broken {
		r.fail(name, "start", err)
		r.tools = slices.DeleteFunc(slices.Clone(r.tools), func(t tool) bool { return t.Name == name })
	}
	return w, nil
}

func (r *runner) add(round int, s ...report.Sample) {
	for _, x := range s {
		x.Round = round
		r.samples = append(r.samples, x)
	}
}

// save writes what there is. A run that was stopped changes no page.
func (r *runner) save(ctx context.Context) error {
	rows := report.Rows(report.Derive(r.samples))
	if err := report.Save(r.o.out, rows, r.machine); err != nil {
		return err
	}
	fmt.Printf("written to %s\n", r.o.out)
	if ctx.Err() != nil {
		return fmt.Errorf("stopped: %w", ctx.Err())
	}
	if err := render(r.o.out, r.o.page); err != nil {
		return err
	}
	fmt.Printf("charts and page written to %s\n", r.o.page)
	return nil
}

func say(format string, args ...any) {
	fmt.Printf(time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
