package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster/machine"
)

// Node is one node.
type Node struct {
	*machine.Machine
	Name    string
	Address string
	CIDR    string // of its pods
	index   int
	c       *Cluster
}

func newNode(c *Cluster, name string, index int) *Node {
	return &Node{Name: name, Address: fmt.Sprintf("10.90.0.%d", 10+index), CIDR: fmt.Sprintf("10.91.%d.0/24", index), index: index, c: c}
}

func (n *Node) start() (err error) {
	spec, err := n.configure()
	if err != nil {
		return err
	}
	n.Machine, err = machine.Start(spec)
	if err != nil {
		return err
	}
	// The kubelet waits for the images.
	return n.Hold("kubelet")
}

// Restart is a power cut: all that runs on the node ends at once, then it starts with its disk as it was, or
// as down, if not nil, leaves what the node had changed in its /etc.
func (n *Node) Restart(ctx context.Context, down func(etc string) error) error {
	if err := n.Stop(); err != nil {
		return err
	}
	// No cgroup lives longer than its kernel. The kubelet would look for 3 s at each that is left.
	if err := machine.RemoveCgroups(n.Cgroup); err != nil {
		return err
	}
	if down != nil {
		if err := down(filepath.Join(n.Dir, "changes/etc/upper")); err != nil {
			return err
		}
	}
	if err := n.start(); err != nil {
		return err
	}
	if err := n.c.plug(n); err != nil {
		return err
	}
	return n.begin(ctx)
}

// begin waits for the runtime, gives it the images and lets the kubelet run.
func (n *Node) begin(ctx context.Context) error {
	err := Await(ctx, time.Minute, "containerd of "+n.Name, func() error {
		_, err := n.Run(ctx, n.c.bin("ctr"), "-n", "k8s.io", "version")
		return err
	})
	if err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(n.c.Cache.Images(), "*.tar"))
	if err != nil {
		return err
	}
	for _, f := range images {
		if err := n.Import(ctx, f); err != nil {
			return err
		}
	}
	return n.Release("kubelet")
}

// Import gives the runtime an image archive.
func (n *Node) Import(ctx context.Context, archive string) error {
	archive, err := filepath.Abs(archive)
	if err != nil {
		return fmt.Errorf("find image archive: %w", err)
	}
	_, err = n.Run(ctx, n.c.bin("ctr"), "-n", "k8s.io", "images", "import", "--local", archive)
	return err
}

// Import gives every node an image archive.
func (c *Cluster) Import(ctx context.Context, archive string) error {
	return c.each(func(n *Node) error { return n.Import(ctx, archive) })
}

func (c *Cluster) startNodes(ctx context.Context) error {
	return c.each(func(n *Node) error { return n.begin(ctx) })
}

func (c *Cluster) each(do func(*Node) error) error {
	results := make(chan error)
	for _, n := range c.Nodes {
		go func() { results <- do(n) }()
	}
	var err error
	for range c.Nodes {
		err = errors.Join(err, <-results)
	}
	return err
}

// register makes the Node objects before the kubelets do, so that podCIDR is what is routed.
func (c *Cluster) register(ctx context.Context) error {
	for _, n := range c.Nodes {
		const format = `{apiVersion: v1, kind: Node, metadata: {name: %[1]s, labels: {topology.kubernetes.io/region: test, topology.kubernetes.io/zone: zone-%[2]d}}, spec: {podCIDR: %[3]s, podCIDRs: ["%[3]s"]}}`
		if err := c.Apply(ctx, fmt.Sprintf(format, n.Name, n.index, n.CIDR)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) awaitNodes(ctx context.Context) error {
	for _, n := range c.Nodes {
		if _, err := c.Kubectl(ctx, "wait", "--for=condition=Ready", "node/"+n.Name, "--timeout=180s"); err != nil {
			return err
		}
	}
	_, err := c.Kubectl(ctx, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s")
	return err
}
