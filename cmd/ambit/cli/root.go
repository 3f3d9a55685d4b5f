// Package cli is the ambit command: one file a verb. It reads the components' admin sockets, or a
// cluster through its API server, and changes nothing.
package cli

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/cmd/ambit/cluster"
)

// options are the flags that every verb shares.
type options struct {
	runDirs []string
	lab     string
	output  string

	controllerDir string

	kube                bool
	kubeconfig, context string
	opened              *cluster.Cluster
}

// Root builds the command tree. version is what `ambit version` says of this binary.
func Root(version string) *cobra.Command {
	o := &options{}
	c := &cobra.Command{
		Use:           "ambit",
		Short:         "Look at an ambient mesh, and try one",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if o.output != "table" && o.output != "json" {
				return fmt.Errorf("--output %q: want table or json", o.output)
			}
			return nil
		},
	}
	f := c.PersistentFlags()
	f.StringArrayVar(&o.runDirs, "run-dir", nil, "run directory of a node's agent and ztunnel (repeatable; default /run/ambit, else a running lab)")
	f.StringVar(&o.lab, "lab", "", "name of a running lab (a demo): all of its nodes")
	f.StringVar(&o.controllerDir, "controller-dir", "", "state directory of a controller on this machine (default: the lab's, else "+defaultStateDir+")")
	f.BoolVar(&o.kube, "kube", false, "look at the cluster of the kubeconfig (default: if there is no mesh on this machine)")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, else ~/.kube/config); implies --kube")
	f.StringVar(&o.context, "context", "", "context of the kubeconfig; implies --kube")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	c.AddCommand(statusCmd(o, version), connectionsCmd(o), explainCmd(o), dumpCmd(o), checkCmd(o), uninstallCmd(o), versionCmd(o, version), demoCmd(), labAppCmd())
	return c
}

func versionCmd(o *options, version string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary and of the mesh's components",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out := versions{Ambit: version, Go: runtime.Version(), Nodes: map[string]componentVersions{}}
			nodes, err := o.nodes(c.Context())
			if err != nil { // no mesh on this machine: the binary's own version is the answer
				nodes = nil
			}
			for _, n := range nodes {
				out.Nodes[n.Name] = n.versions(c.Context())
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), out)
			}
			return out.table(c.OutOrStdout())
		},
	}
}

// ExitCode is what the process ends with: 0, 3 for a connection that would be refused, 1 for the rest.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrRefused):
		return 3
	}
	return 1
}
