package cli

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/cmd/ambit/cluster"
)

// errCheck ends `ambit check` when something is not as it must be.
var errCheck = errors.New("something is not as it must be: see FAIL above")

const checkLong = `Look whether a mesh can be installed, or whether the one that is installed is whole. In a cluster
(--kube, or a kubeconfig is there): versions, kernels, other meshes, definitions, admission webhooks
that STRICT would refuse, the parts of the mesh, pods that are not captured. Without a cluster, or with
--node: what redirection needs of this machine's kernel. Nothing is changed.

Exit code: 0 all is well or a warning, 1 something must be mended.`

func checkCmd(o *options) *cobra.Command {
	var node bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Look whether a mesh can be installed, or is whole; each finding with a hint",
		Long:  checkLong,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			lines, err := o.check(c.Context(), node)
			if err != nil {
				return err
			}
			if err := printLines(c.OutOrStdout(), o.output, lines); err != nil {
				return err
			}
			for _, l := range lines {
				if l.State == cluster.Fail {
					return errCheck
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&node, "node", false, "check this machine even if there is a cluster")
	return c
}

func (o *options) check(ctx context.Context, node bool) ([]cluster.Line, error) {
	if node {
		return features(agent.Features("", "/sys/fs/bpf")), nil
	}
	c, err := o.load()
	if errors.Is(err, cluster.ErrNoConfig) && !o.inCluster() {
		return features(agent.Features("", "/sys/fs/bpf")), nil
	}
	if err != nil {
		return nil, err
	}
	return c.Check(ctx), nil
}

// features words what the agent finds of a kernel as findings.
func features(all []agent.Feature) []cluster.Line {
	out := make([]cluster.Line, 0, len(all))
	for _, f := range all {
		l := cluster.Line{State: cluster.OK, What: f.Name, Detail: f.Detail}
		switch {
		case f.OK:
		case f.Required:
			l.State, l.Hint = cluster.Fail, "redirection cannot work on this node without it"
		default:
			l.State, l.Hint = cluster.Warn, "the mesh works without it"
		}
		out = append(out, l)
	}
	return out
}

func printLines(w io.Writer, output string, lines []cluster.Line) error {
	if output == "json" {
		return printJSON(w, lines)
	}
	t := newTable(w, "STATE", "WHAT", "FOUND", "HINT")
	for _, l := range lines {
		t.row(string(l.State), l.What, l.Detail, l.Hint)
	}
	return t.flush()
}
