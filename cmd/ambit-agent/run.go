package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/internal/objects"
	"github.com/ambitmesh/ambit/internal/resident"
	"github.com/ambitmesh/ambit/internal/version"
)

func run(ctx context.Context, o options) error {
	log, err := logger(o.level)
	if err != nil {
		return err
	}
	hold, err := o.holdNew()
	if err != nil {
		return err
	}
	adopt(log)
	defer resident.Settle(log)()
	node, err := hostName(o)
	if err != nil {
		return fmt.Errorf("name of this node: %w", err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	cfg := agent.Config{
		Node: node, Instance: o.instance, Version: version.String(), BPFFS: o.bpffs, CgroupRoot: o.cgroupRoot,
		RunDir: o.runDir, ProbeCgroup: o.probeCgroup, ProxyAbsentAfter: o.proxyAbsentAfter, Log: log, Registry: reg,
	}
	if rc, ok, err := objects.APIConfig(o.source); ok || err != nil {
		if err != nil {
			return err
		}
		if err := joinCgroups(nodeCgroups); err != nil {
			return err
		}
		cfg.HoldNew = hold
		return runKube(ctx, o, cfg, rc)
	}
	dir, ok := strings.CutPrefix(o.source, "dir:")
	if !ok || dir == "" {
		return fmt.Errorf("--source %q: want dir:<path>, kube or kube:<kubeconfig>", o.source)
	}
	cfg.World = agent.NewWorld(objects.NewDirectory(dir, objects.Options{Log: log}), node)
	a, err := start(cfg)
	if err != nil {
		return err
	}
	return errors.Join(serve(ctx, a, o), a.Close())
}

// holdNew is what --startup says: whether pods that are found labelled wait for a proxy.
func (o *options) holdNew() (bool, error) {
	switch o.startup {
	case "deny":
		return true, nil
	case "open":
		return false, nil
	}
	return false, fmt.Errorf("--startup %q: want deny or open", o.startup)
}

func start(cfg agent.Config) (*agent.Agent, error) {
	if err := os.MkdirAll(cfg.RunDir, 0o755); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	return agent.New(cfg)
}

// serve works until ctx ends or one of more fails.
func serve(ctx context.Context, a *agent.Agent, o options, more ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for addr, h := range map[string]http.Handler{o.metricsAddr: at("/metrics", a.MetricsHandler()), o.readyAddr: at("/healthz/ready", a.ReadyHandler())} {
		if addr == "" {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		g.Go(func() error { return agent.ServeHTTP(ctx, l, h) })
	}
	for _, f := range more {
		g.Go(func() error { return f(ctx) })
	}
	g.Go(func() error { return a.ServeAdmin(ctx) })
	g.Go(func() error { return a.Run(ctx) })
	return g.Wait()
}

func at(path string, h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+path, h)
	return mux
}
