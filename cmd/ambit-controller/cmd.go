package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/internal/version"
)

// options are the command line.
type options struct {
	source, listen, stateDir      string
	trustDomain, clusterID        string
	serverNames                   []string
	leafLife                      time.Duration
	metricsAddr, readyAddr, level string
	adminSocket, adminAddr        string
	kube                          kubeOptions
}

func rootCmd() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "ambit-controller",
		Short:         "Configure the mesh's proxies and sign their certificates",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.String(),
		RunE:          func(c *cobra.Command, _ []string) error { return run(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.source, "source", "", "where objects come from: dir:<path>, kube (in a cluster) or kube:<kubeconfig>")
	o.kube.flags(c)
	f.StringVar(&o.listen, "listen", ":15012", "address for xDS and certificates")
	f.StringVar(&o.trustDomain, "trust-domain", "cluster.local", "trust domain of all identities")
	f.StringVar(&o.clusterID, "cluster-id", "Kubernetes", "name of the cluster in workloads' uids")
	f.StringSliceVar(&o.serverNames, "server-name", nil, "address or DNS name in the controller's certificate (repeatable)")
	f.DurationVar(&o.leafLife, "leaf-life", 24*time.Hour, "longest life of certificates")
	f.StringVar(&o.metricsAddr, "metrics-addr", "", "address for /metrics (always on the admin socket too)")
	f.StringVar(&o.readyAddr, "ready-addr", "", "address for /healthz/ready (always on the admin socket too)")
	f.StringVar(&o.adminAddr, "admin-addr", "", "loopback address where status can be read (always on the admin socket too)")
	f.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	p := c.PersistentFlags()
	p.StringVar(&o.stateDir, "state-dir", "/var/lib/ambit/controller", "directory of the root's key, join tokens and sockets, for one controller alone")
	p.StringVar(&o.adminSocket, "admin-socket", "", "admin socket (default: <state-dir>/controller.sock)")
	c.AddCommand(tokenCmd(&o), caCmd(&o))
	return c
}
