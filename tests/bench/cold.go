package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/load"
	"github.com/ambitmesh/ambit/tests/bench/peers"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

const (
	coldHybrid = report.Cold
	coldPlain  = report.Cold + ", X25519"
	hboneCold  = "ztunnel layout: hbone_connections"
	perCold    = "ms CPU each"
)

// cold measures connections that need a handshake of their own: the first to each of many pods after a
// start of the client's ztunnel, and through other proxies without resumption.
func (r *runner) cold(ctx context.Context) error {
	for _, e := range r.has.engines {
		if !r.wanted(report.Mesh(e)) {
			continue
		}
		if err := r.coldEngine(ctx, e); err != nil {
			r.fail(report.Mesh(e), "cold", err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("cold: %w", ctx.Err())
		}
	}
	return nil
}

func (r *runner) coldEngine(ctx context.Context, engine string) (err error) {
	say("%s: %d pods on a node", report.Mesh(engine), r.o.pods)
	w, err := r.build(ctx, plan{engines: []string{engine}, tools: r.pairs(), pods: r.o.pods})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for round := range min(r.o.rounds, 3) {
		for _, x := range []struct{ workload, debug string }{{coldHybrid, ""}, {coldPlain, "tlsmlkem=0"}} {
			if err := r.visits(ctx, w, engine, x.workload, x.debug, round); err != nil {
				return err
			}
		}
		if engine == r.has.best() {
			r.fresh(ctx, w, round)
		}
	}
	return r.crowded(ctx, w, engine)
}

// visits starts the near ztunnel anew and connects to each pod of the crowd.
func (r *runner) visits(ctx context.Context, w *world, engine, workload, debug string, round int) error {
	c := w.chain(report.Mesh(engine))
	if err := w.restart(ctx, engine, debug); err != nil {
		return err
	}
	var addrs []string
	for i := range r.o.pods {
		addrs = append(addrs, w.pods[fmt.Sprintf("crowd-%s-%d", engine, i)].At(false, serverBase+roleOnce))
	}
	// Both identities' certificates are there after this one.
	ready := lab.Eventually(ctx, func(ctx context.Context) error { _, err := w.visit(ctx, c, addrs[:1]); return err })
	if ready != nil {
		return ready
	}
	z := w.lab.Node(engine + "-a").Ztunnel()
	c.proxies = []string{z.Cgroup(), c.proxies[1]}
	samples, err := w.visited(ctx, c, addrs[1:], workload)
	if err != nil {
		return err
	}
	r.add(round, samples...)
	if debug == "" {
		samples[0].Workload = hboneCold
		r.add(round, samples[0])
	}
	if err := r.again(ctx, w, c, addrs[1:], workload, round); err != nil {
		r.fail(c.name, workload+report.Resumed, err)
	}
	return ctx.Err()
}

// visited connects to each address and gives CPU time and latency of one.
func (w *world) visited(ctx context.Context, c chain, addrs []string, workload string) ([]report.Sample, error) {
	if err := w.quiet(ctx, c); err != nil {
		return nil, err
	}
	before, err := spent(c)
	if err != nil {
		return nil, err
	}
	res, err := w.visit(ctx, c, addrs)
	if err != nil {
		return nil, err
	}
	if err := w.quiet(ctx, c); err != nil {
		return nil, err
	}
	after, err := spent(c)
	if err != nil {
		return nil, err
	}
	for metric := range after {
		after[metric] -= before[metric]
	}
	return coldSamples(c, workload, res, after), nil
}

// spent is the CPU time of what stands between, until now.
func spent(c chain) (map[string]float64, error) {
	var seconds []float64
	for _, dir := range watched(c.between()) {
		s, err := load.CPU([]string{dir})
		if err != nil {
			return nil, err
		}
		seconds = append(seconds, s)
	}
	return charge(c.between(), seconds)
}

// coldSamples are the latency of one connection and the CPU time of each account for it.
func coldSamples(c chain, workload string, res *load.Result, cpu map[string]float64) []report.Sample {
	out := []report.Sample{{Workload: workload, Chain: c.name, Metric: "p50", Unit: "us", Value: res.P50}}
	for _, a := range c.between() {
		if v, ok := cpu[a.metric]; ok {
			out = append(out, report.Sample{Workload: workload, Chain: c.name, Metric: a.metric, Unit: perCold, Value: v / float64(res.Count) * 1e3})
		}
	}
	return out
}

// restart replaces the near ztunnel: the new one has no tunnels. debug is for Go's runtime.
func (w *world) restart(ctx context.Context, engine, debug string) error {
	n := w.lab.Node(engine + "-a")
	if err := n.Ztunnel().Remove(); err != nil {
		return err
	}
	old, had := os.LookupEnv("GODEBUG")
	if err := os.Setenv("GODEBUG", debug); err != nil {
		return fmt.Errorf("set GODEBUG: %w", err)
	}
	err := w.places.on(w.places.of(n.Name), func() error {
		_, err := n.StartZtunnel(ctx, w.has.flags(engine, "proxy")...)
		return err
	})
	if had {
		return errors.Join(err, os.Setenv("GODEBUG", old))
	}
	return errors.Join(err, os.Unsetenv("GODEBUG"))
}

func (w *world) visit(ctx context.Context, c chain, addrs []string) (*load.Result, error) {
	g, err := w.start(c.client, append([]string{"visit", "64"}, addrs...))
	if err != nil {
		return nil, err
	}
	return g.result(ctx, time.Second)
}

// pairs are the other proxies that make a TLS connection for each connection.
func (r *runner) pairs() []tool {
	return slices.DeleteFunc(slices.Clone(r.tools), func(t tool) bool { return t.Kind != peers.Pair })
}

// fresh measures other proxies' handshakes. OpenSSL 3.0 has no ML-KEM: both comparisons are with X25519.
func (r *runner) fresh(ctx context.Context, w *world, round int) {
	for _, t := range r.pairs() {
		c := w.chain(t.Name)
		res, err := w.freshOf(ctx, c, r.o.each)
		if err != nil {
			r.fail(t.Name, coldHybrid, err)
			continue
		}
		cpu, err := charge(c.between(), res.CPU)
		if err != nil {
			r.fail(t.Name, coldHybrid, err)
			continue
		}
		for _, workload := range []string{coldHybrid, coldPlain, coldHybrid + report.Resumed, coldPlain + report.Resumed} {
			r.add(round, coldSamples(c, workload, res, cpu)...)
		}
	}
}

func (w *world) freshOf(ctx context.Context, c chain, each time.Duration) (*load.Result, error) {
	if err := w.quiet(ctx, c); err != nil {
		return nil, err
	}
	g, err := w.start(c.client, connect(1, 64).args(c.at(roleFresh), each), watched(c.between())...)
	if err != nil {
		return nil, err
	}
	res, err := g.result(ctx, each)
	if err == nil && res.Count == 0 {
		err = errors.New("nothing was done")
	}
	return res, err
}

func crowdName(pods int) string { return fmt.Sprintf("%d pods on a node", pods) }

// crowded is what the mesh needs on a node with many pods, each of which has been called.
func (r *runner) crowded(ctx context.Context, w *world, engine string) error {
	n := w.lab.Node(engine + "-b")
	all, err := resting(ctx, []string{n.Ztunnel().Cgroup(), agentOf(n)})
	if err != nil {
		return err
	}
	pods := r.o.pods + 1
	s := report.Sample{Workload: crowdName(r.o.pods), Chain: report.Mesh(engine), Metric: "ztunnel and agent", Unit: "MB", Value: all / 1e6}
	r.add(0, s)
	s.Metric, s.Value = "per pod", all/1e6/float64(pods)
	r.add(0, s)
	say("%s: %.1f MB for %d pods", s.Chain, all/1e6, pods)
	return nil
}
