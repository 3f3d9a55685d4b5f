package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/resident"
	"github.com/ambitmesh/ambit/internal/version"
	"github.com/ambitmesh/ambit/ztunnel/decide"
	"github.com/ambitmesh/ambit/ztunnel/server"
)

func run(ctx context.Context, o options, terminate <-chan struct{}) error {
	if err := o.fill(); err != nil {
		return fmt.Errorf("--node: name of this machine: %w", err)
	}
	conf, err := o.config()
	if err != nil {
		return err
	}
	adopt(conf.Log)
	if err := harden(); err != nil {
		return err
	}
	if err := tune(conf.Log); err != nil {
		return err
	}
	if err := server.MakeRunDir(conf.RunDir); err != nil {
		return err
	}
	s, err := server.New(conf)
	if err != nil {
		return err
	}
	defer resident.Settle(conf.Log)()
	return s.Run(ctx, terminate)
}

// config checks the flags; each error names its flag.
func (o *options) config() (server.Config, error) {
	level := &slog.LevelVar{}
	if err := level.UnmarshalText([]byte(o.level)); err != nil {
		return server.Config{}, fmt.Errorf("--log-level: %w", err)
	}
	for _, check := range []func() error{o.checkNames, o.checkController, o.checkAddrs, o.checkWords} {
		if err := check(); err != nil {
			return server.Config{}, err
		}
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return server.Config{
		Node: o.node, RunDir: o.runDir, ZDS: o.zds, Controller: o.controller, ControllerRoot: o.controllerRoot,
		JoinTokenFile: o.joinToken, TokenFile: o.token, ControllerName: o.controllerName,
		PodName: o.podName, PodNamespace: o.podNamespace, PodIP: o.podIP, TrustDomain: o.trustDomain, ClusterID: o.clusterID,
		MetricsAddr: o.metricsAddr, ReadyAddr: o.readyAddr, AdminAddr: o.adminAddr, DrainTime: o.drainTime,
		SameNode: decide.SameNode(o.sameNode), Engine: server.EngineKind(o.engine), AccessLog: o.accessLog, Pprof: o.pprof,
		TLSResumption: o.tlsResumption, BusyPoll: o.busyPoll,
		Version: version.String(), Level: level, Log: logger(level), Registry: reg,
	}, nil
}

func (o *options) checkNames() error {
	if _, _, err := identity.ParseNodeURI(identity.NodeURI(o.trustDomain, "n")); err != nil {
		return fmt.Errorf("--trust-domain %q: want lower case letters, digits, dots, dashes and underscores", o.trustDomain)
	}
	if _, _, err := identity.ParseNodeURI(identity.NodeURI("x", o.node)); err != nil {
		return fmt.Errorf("--node %q: want letters, digits, dots, dashes and underscores", o.node)
	}
	if o.clusterID == "" {
		return errors.New("--cluster-id: want a name")
	}
	if o.runDir == "" {
		return errors.New("--run-dir: want a directory")
	}
	return nil
}

func (o *options) checkController() error {
	host, port, err := net.SplitHostPort(o.controller)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || host == "" || n == 0 {
		return fmt.Errorf("--controller %q: want host:port", o.controller)
	}
	if o.controllerRoot == "" {
		return errors.New("--controller-root: want the PEM file by which the controller is trusted")
	}
	if o.token != "" && o.joinToken != "" {
		return errors.New("--token-file: not together with --join-token-file")
	}
	if o.controllerName != "" && o.token == "" {
		return errors.New("--controller-name: only with --token-file")
	}
	if _, err := netip.ParseAddr(o.podIP); o.podIP != "" && err != nil {
		return fmt.Errorf("--pod-ip: %w", err)
	}
	return nil
}

func (o *options) checkAddrs() error {
	for flag, addr := range map[string]string{"--metrics-addr": o.metricsAddr, "--ready-addr": o.readyAddr} {
		if addr == "" {
			continue
		}
		if _, err := net.ResolveTCPAddr("tcp", addr); err != nil {
			return fmt.Errorf("%s %q: %w", flag, addr, err)
		}
	}
	if o.adminAddr == "" {
		return nil
	}
	a, err := netip.ParseAddrPort(o.adminAddr)
	if err != nil || !a.Addr().IsLoopback() {
		return fmt.Errorf("--admin-addr %q: want a loopback address and a port", o.adminAddr)
	}
	return nil
}

func (o *options) checkWords() error {
	switch decide.SameNode(o.sameNode) {
	case decide.Direct, decide.HandOver, decide.MTLS:
	default:
		return fmt.Errorf("--same-node %q: want direct, proxy or mtls", o.sameNode)
	}
	switch server.EngineKind(o.engine) {
	case server.Std, server.Loop:
	default:
		return fmt.Errorf("--engine %q: want std or loop", o.engine)
	}
	if o.drainTime < 0 {
		return fmt.Errorf("--drain-time %s: want zero or more", o.drainTime)
	}
	if o.busyPoll < 0 {
		return fmt.Errorf("--busy-poll %s: want zero or more", o.busyPoll)
	}
	if o.accessLog == "" {
		return errors.New("--access-log: want a file, - or off")
	}
	return nil
}
