package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ambitmesh/ambit/controller/ca"
	"github.com/ambitmesh/ambit/controller/server"
	"github.com/ambitmesh/ambit/internal/objects"
	"github.com/ambitmesh/ambit/internal/resident"
	"github.com/ambitmesh/ambit/internal/version"
)

func run(ctx context.Context, o options) error {
	log, err := logger(o.level)
	if err != nil {
		return err
	}
	adopt(log)
	if o.leafLife <= 0 {
		return fmt.Errorf("--leaf-life %s: must be positive", o.leafLife)
	}
	if a, err := netip.ParseAddrPort(o.adminAddr); o.adminAddr != "" && (err != nil || !a.Addr().IsLoopback()) {
		return fmt.Errorf("--admin-addr %q: want a loopback address and a port", o.adminAddr)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	cfg := server.Config{
		Listen: o.listen, StateDir: o.stateDir, TrustDomain: o.trustDomain, ClusterID: o.clusterID, ServerNames: o.serverNames,
		LeafLife: o.leafLife, MetricsAddr: o.metricsAddr, ReadyAddr: o.readyAddr, AdminSocket: o.adminSocket, AdminAddr: o.adminAddr,
		Version: version.String(), Log: log, Registry: reg,
	}
	if err := o.from(&cfg); err != nil {
		return err
	}
	s, err := begin(ctx, cfg)
	if err != nil {
		return err
	}
	defer resident.Settle(log)()
	return s.Run(ctx)
}

// begin waits for an API server that is away: to end and be started again takes longer each time.
func begin(ctx context.Context, cfg server.Config) (*server.Server, error) {
	for {
		s, err := server.New(cfg)
		if err == nil || cfg.Cluster == nil || !errors.Is(err, ca.ErrStore) {
			return s, err
		}
		cfg.Log.Warn("cannot begin yet; it will be tried again", "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(2 * time.Second):
		}
	}
}

// from says where the objects come from, and what else a cluster gives.
func (o options) from(cfg *server.Config) error {
	if dir, ok := strings.CutPrefix(o.source, "dir:"); ok && dir != "" {
		if flag := o.kube.set(); flag != "" {
			return fmt.Errorf("--%s: only with --source kube", flag)
		}
		cfg.Source = func(epoch uint32) objects.Source {
			return objects.NewDirectory(dir, objects.Options{Log: cfg.Log, Epoch: epoch})
		}
		return nil
	}
	if o.source == "kube" || strings.HasPrefix(o.source, "kube:") {
		return o.kube.fill(cfg, strings.TrimPrefix(strings.TrimPrefix(o.source, "kube"), ":"))
	}
	return fmt.Errorf("--source %q: want dir:<path>, kube or kube:<kubeconfig>", o.source)
}
