package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster/build"
)

//go:embed files/coredns.yaml
var corednsYAML string

func (c *Cluster) dns(ctx context.Context) error {
	return c.Apply(ctx, strings.NewReplacer("@IMAGE@", build.CoreDNSImage, "@DNS@", dnsAddress).Replace(corednsYAML))
}

// Kubectl runs kubectl as the cluster's administrator and returns what it printed; its messages are in
// the error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectl(ctx, "", args...)
}

// Apply applies YAML by server-side apply.
func (c *Cluster) Apply(ctx context.Context, yaml string) error {
	_, err := c.kubectl(ctx, yaml, "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

func (c *Cluster) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	all := append([]string{c.bin("kubectl"), "--kubeconfig", c.Kubeconfig(), "--cache-dir", filepath.Join(c.Dir, "discovery")}, args...)
	cmd := c.Control.EnterNet(all...)
	cmd.Stdin = strings.NewReader(stdin)
	return output(ctx, cmd, "kubectl "+strings.Join(args, " "))
}

// Kubeconfig is the administrator's; it works in the control machine's network.
func (c *Cluster) Kubeconfig() string { return c.pki("admin.kubeconfig") }

// Run runs a command in the node and returns what it printed.
func (n *Node) Run(ctx context.Context, args ...string) (string, error) {
	return output(ctx, n.Enter(args...), n.Name+": "+strings.Join(args, " "))
}

func output(ctx context.Context, cmd *exec.Cmd, what string) (string, error) {
	run := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	var out, msg strings.Builder
	run.Stdin, run.Stdout, run.Stderr = cmd.Stdin, &out, &msg
	run.WaitDelay = 5 * time.Second
	if err := run.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s%s", what, err, msg.String(), out.String())
	}
	return out.String(), nil
}

// Await asks until it is so, and returns the last reason why not.
func Await(ctx context.Context, most time.Duration, what string, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not after %v: %w", what, most, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
