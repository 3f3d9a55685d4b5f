package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// drive measures speed in one lab and memory in labs of their own: a proxy that has just moved
// gigabytes is not at rest.
func drive(ctx context.Context, o options) error {
	if err := lab.Unusable(); err != nil {
		return err
	}
	var samples []report.Sample
	if !o.skipSpeed {
		s, err := speed(ctx, o)
		if err != nil {
			return err
		}
		samples = append(samples, s...)
	}
	if !o.skipIdle {
		s, err := memory(ctx, o)
		if err != nil {
			return err
		}
		samples = append(samples, s...)
	}
	rows := report.Rows(samples)
	report.WriteTable(os.Stdout, rows)
	return save(o.out, rows)
}

func save(path string, rows []report.Row) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make directory for results: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create results: %w", err)
	}
	if err := errors.Join(report.WriteJSON(f, rows), f.Close()); err != nil {
		return err
	}
	fmt.Printf("\nwritten to %s\n", path)
	return nil
}

// speed measures every workload on every chain, round after round.
func speed(ctx context.Context, o options) (samples []report.Sample, err error) {
	w, err := build(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for _, c := range w.chains {
		if err := w.verify(ctx, c); err != nil {
			return nil, fmt.Errorf("chain %s does not take its path: %w", c.name, err)
		}
		say("verified: %s is %s", c.name, c.what)
	}
	for round := range o.rounds {
		for _, l := range workloads() {
			if !strings.Contains(l.name, o.only) {
				continue
			}
			// Another chain is first in each round.
			for i := range w.chains {
				c := w.chains[(i+round)%len(w.chains)]
				s, err := w.measure(ctx, c, l, o.each)
				if err != nil {
					return nil, fmt.Errorf("%s over %s: %w", l.name, c.name, err)
				}
				for j := range s {
					s[j].Round = round
				}
				samples = append(samples, s...)
			}
		}
		say("round %d of %d", round+1, o.rounds)
	}
	return append(samples, report.Added(samples, "p50")...), nil
}

func say(format string, args ...any) { fmt.Printf("... "+format+"\n", args...) }
