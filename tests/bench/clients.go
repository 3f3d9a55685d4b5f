package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/load"
)

// many makes as many clients as the world's plan wants, beside the first and with its identity.
func (w *world) many(ctx context.Context, client *lab.Pod) ([]*lab.Pod, error) {
	out := []*lab.Pod{client}
	for i := 1; i < w.clients; i++ {
		p, err := w.pod(ctx, client.Namespace, fmt.Sprintf("%s-%d", client.Name, i), client.Node.Name, false)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// clients are the pods that load comes from.
func (c chain) clients() []*lab.Pod {
	if c.loading == 0 {
		return []*lab.Pod{c.client}
	}
	return c.many[:c.loading]
}

// from is the chain with load from several pods.
func (c chain) from(pods int) (chain, error) {
	if pods > len(c.many) {
		return c, fmt.Errorf("%s has %d clients, want %d", c.name, len(c.many), pods)
	}
	c.loading = pods
	return c, nil
}

// together runs a job in each client of a chain and adds up what they did. The first one's window is that of
// CPU time.
func (w *world) together(ctx context.Context, c chain, j job, each time.Duration) (*load.Result, error) {
	var all []*generator
	var errs []error
	for i, pod := range c.clients() {
		var dirs []string
		if i == 0 {
			dirs = watched(c.accounts())
		}
		g, err := w.start(pod, j.args(c.at(j.role), each), dirs...)
		if err != nil {
			errs = append(errs, err)
			break
		}
		all = append(all, g)
	}
	var parts []*load.Result
	for _, g := range all { // also after an error: none stays behind
		r, err := g.result(ctx, each)
		errs = append(errs, err)
		parts = append(parts, r)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return sum(parts), nil
}

// sum adds up what streams moved. Of one result it is that one.
func sum(parts []*load.Result) *load.Result {
	out := *parts[0]
	for _, r := range parts[1:] {
		out.Count, out.Bytes, out.Gbps, out.Failed = out.Count+r.Count, out.Bytes+r.Bytes, out.Gbps+r.Gbps, out.Failed+r.Failed
	}
	return &out
}
