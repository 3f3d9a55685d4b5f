package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/internal/version"
)

// options are the command line.
type options struct {
	source, node, instance        string
	bpffs, cgroupRoot, runDir     string
	probeCgroup                   string
	proxyAbsentAfter              time.Duration
	metricsAddr, readyAddr, level string
	startup, daemonSet            string
	cni                           cniOptions
}

func rootCmd() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "ambit-agent",
		Short:         "Enrol this node's pods in the mesh",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.String(),
		RunE:          func(c *cobra.Command, _ []string) error { return run(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.source, "source", "", "where objects come from: dir:<path>, kube (the pod's own account) or kube:<kubeconfig>")
	f.StringVar(&o.node, "node", "", "name of this node (default: the host name)")
	f.StringVar(&o.startup, "startup", "deny", "with kube, what labelled pods may do that are found uncaptured: deny (nothing passes until a proxy serves them) or open")
	f.StringVar(&o.daemonSet, "daemonset", "", "with kube, namespace/name of the agent's DaemonSet (default: ambit-agent of $POD_NAMESPACE): if that is gone when the agent is told to end, the node is cleaned")
	f.StringVar(&o.probeCgroup, "probe-cgroup", "", "whose connections from the node are probes: a cgroup directory, \"node\" for all, or empty for the owner of port 10250")
	f.DurationVar(&o.proxyAbsentAfter, "proxy-absent-after", 10*time.Second, "without a proxy for so long, reset the connections that wait for it")
	f.StringVar(&o.metricsAddr, "metrics-addr", "", "address for /metrics (always on the admin socket too)")
	f.StringVar(&o.readyAddr, "ready-addr", "", "address for /healthz/ready (always on the admin socket too)")
	f.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	p := c.PersistentFlags()
	p.StringVar(&o.runDir, "run-dir", "/run/ambit", "directory of sockets")
	o.cni.flags(p)
	p.StringVar(&o.instance, "instance", "default", "name of the pins; two instances do not see each other")
	p.StringVar(&o.bpffs, "bpffs", "/sys/fs/bpf", "bpf file system of the pins, mounted if it is not")
	p.StringVar(&o.cgroupRoot, "cgroup-root", "", "directory whose processes are hooked (default: the cgroup2 mount)")
	c.AddCommand(checkCmd(&o), cleanupCmd(&o), cniCmd(&o))
	return c
}

func checkCmd(o *options) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Try what redirection needs of this kernel and node",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all := agent.Features(o.cgroupRoot, o.bpffs)
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				return cmp.Or(enc.Encode(all), agent.Missing(all))
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			for _, f := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\n", verdict(f), f.Name, f.Detail)
			}
			return cmp.Or(w.Flush(), agent.Missing(all))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func verdict(f agent.Feature) string {
	switch {
	case f.OK:
		return "ok"
	case f.Required:
		return "MISSING"
	default:
		return "without"
	}
}

func cleanupCmd(o *options) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove everything of an instance: links, maps, and rules, routes and sysctls in pods",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if all {
				return agent.CleanupAll(o.bpffs, o.cgroupRoot)
			}
			return agent.Cleanup(o.bpffs, o.cgroupRoot, o.instance)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "of every instance below --bpffs")
	return c
}

func hostName(o options) (string, error) {
	if o.node != "" {
		return o.node, nil
	}
	return os.Hostname()
}
