package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/cmd/ambit/cluster"
	"github.com/ambitmesh/ambit/cmd/ambit/machine"
)

// errLeft ends `ambit uninstall --check` when something is left.
var errLeft = errors.New("something of the mesh is left: see above")

const uninstallLong = `Uninstalling is kubectl's business, for it knows what was applied:

  kubectl -n ambit-system delete daemonset ambit-agent --cascade=foreground
  kubectl delete -f manifests/ambit.yaml

The first makes every agent take its pods out of the mesh and clean its node before it ends; without a
cluster, ambit-agent cleanup --all does. Definitions, and the routes and policies that you wrote, stay.

With --check this command says what is left: in the cluster (--kube, or a kubeconfig is there) objects
of Ambit's own and pods marked as captured; on a node (as root; --node, or no kubeconfig) pins, sockets,
the CNI plugin and its configuration, and rules in network namespaces.

Exit code: 0 nothing is left, 1 something is.`

func uninstallCmd(o *options) *cobra.Command {
	var check, node bool
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Say how to uninstall; with --check, what is left of a mesh",
		Long:  uninstallLong,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !check {
				fmt.Fprintln(c.OutOrStdout(), uninstallLong)
				return nil
			}
			left, err := o.leftovers(c.Context(), node)
			if err != nil {
				return err
			}
			return printLeftovers(c.OutOrStdout(), o.output, left)
		},
	}
	c.Flags().BoolVar(&check, "check", false, "look for what is left")
	c.Flags().BoolVar(&node, "node", false, "look at this machine even if there is a cluster")
	return c
}

func (o *options) leftovers(ctx context.Context, node bool) ([]string, error) {
	if node {
		return machine.Usual().Leftovers()
	}
	c, err := o.load()
	if errors.Is(err, cluster.ErrNoConfig) && !o.inCluster() {
		return machine.Usual().Leftovers()
	}
	if err != nil {
		return nil, err
	}
	return c.Leftovers(ctx)
}

func printLeftovers(w io.Writer, output string, left []string) error {
	if output == "json" {
		if err := printJSON(w, append([]string{}, left...)); err != nil {
			return err
		}
	} else {
		for _, l := range left {
			fmt.Fprintln(w, l)
		}
		if len(left) == 0 {
			fmt.Fprintln(w, "nothing is left")
		}
	}
	if len(left) > 0 {
		return errLeft
	}
	return nil
}
