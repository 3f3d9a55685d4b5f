package main

import (
	"cmp"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/internal/grpclogs"
	"github.com/ambitmesh/ambit/internal/version"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// options are the command line.
type options struct {
	node, runDir, zds                     string
	controller, controllerRoot, joinToken string
	token, controllerName                 string
	podName, podNamespace, podIP          string
	trustDomain, clusterID                string
	metricsAddr, readyAddr, adminAddr     string
	drainTime, busyPoll                   time.Duration
	sameNode, engine, accessLog, level    string
	tlsResumption, pprof                  bool
}

func rootCmd(terminate <-chan struct{}) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "ambit-ztunnel",
		Short:         "Carry this node's enrolled pods over mutual TLS",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.String(),
		RunE:          func(c *cobra.Command, _ []string) error { return run(c.Context(), o, terminate) },
	}
	f := c.Flags()
	f.StringVar(&o.node, "node", "", "name of this node (default: the host name)")
	f.StringVar(&o.runDir, "run-dir", "/run/ambit", "directory of the admin socket and of the last snapshot")
	f.StringVar(&o.zds, "zds", "", "socket of the agent (default: zds/zds.sock in the run directory)")
	f.StringVar(&o.controller, "controller", "", "host:port of the controller")
	f.StringVar(&o.controllerRoot, "controller-root", "", "PEM file with the root certificates by which the controller is trusted")
	f.StringVar(&o.joinToken, "join-token-file", "", "file with the token that this node joins with; read again at each attempt")
	f.StringVar(&o.token, "token-file", "", "file with the token of the proxy's service account, instead of --join-token-file; read again at each call")
	f.StringVar(&o.controllerName, "controller-name", "", "DNS name in the certificate of a control plane without SPIFFE identity, such as istiod's; with --token-file")
	f.StringVar(&o.podName, "pod-name", "", "name of the proxy's own pod (default: the node's)")
	f.StringVar(&o.podNamespace, "pod-namespace", "", "namespace of the proxy's own pod (default: ambit-system)")
	f.StringVar(&o.podIP, "pod-ip", "", "address of the proxy's own pod (default: the one that leads to the controller)")
	f.StringVar(&o.trustDomain, "trust-domain", "cluster.local", "trust domain of the mesh")
	f.StringVar(&o.clusterID, "cluster-id", "Kubernetes", "name of the cluster")
	f.StringVar(&o.metricsAddr, "metrics-addr", ":15020", "address for /metrics; empty: none")
	f.StringVar(&o.readyAddr, "ready-addr", ":15021", "address for /healthz/ready; empty: none")
	f.StringVar(&o.adminAddr, "admin-addr", "127.0.0.1:15000", "loopback address of the admin pages (always on ztunnel.sock in the run directory too); empty: none")
	f.DurationVar(&o.drainTime, "drain-time", 30*time.Second, "how long connections may go on after SIGTERM")
	f.StringVar(&o.sameNode, "same-node", "proxy", "how two pods of this node are connected: direct (by the kernel, once the proxy has allowed it), proxy (handed over, no TLS) or mtls")
	f.StringVar(&o.engine, "engine", "loop", "what carries connections: loop (event loops) or std (goroutines and crypto/tls); in FIPS 140-3 mode always std")
	f.DurationVar(&o.busyPoll, "busy-poll", engine.WatchMost, "how long an event loop may look for an answer instead of sleeping, while questions and answers take turns; never with a CPU limit; 0: never")
	f.BoolVar(&o.tlsResumption, "tls-resumption", true, "resume TLS sessions of pods' connections; a session ends with the certificate and the roots that it was made with")
	f.StringVar(&o.accessLog, "access-log", "-", "where a line of JSON goes for each connection: a file, - for standard output, or off")
	f.BoolVar(&o.pprof, "pprof", false, "serve profiles on the admin pages")
	f.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	return c
}

// fill sets what depends on other flags or on the machine.
func (o *options) fill() error {
	o.zds = cmp.Or(o.zds, filepath.Join(o.runDir, "zds", "zds.sock"))
	if o.node != "" {
		return nil
	}
	var err error
	o.node, err = os.Hostname()
	return err
}

func logger(level *slog.LevelVar) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// adopt lets the libraries that have a log of their own, for the whole process, write to ours: Go's HTTP
// servers by package log, and gRPC.
func adopt(log *slog.Logger) {
	slog.SetDefault(log)
	slog.SetLogLoggerLevel(slog.LevelWarn)
	grpclogs.Use(log)
}
