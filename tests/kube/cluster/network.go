package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ambitmesh/ambit/tests/kube/cluster/machine"
)

// connect links the nodes' eth0 to a bridge, the fabric, in the control machine, with routes to all pods.
func (c *Cluster) connect(context.Context) error {
	if err := ip(c.Control, "link set lo up", "link add fabric type bridge", "addr add "+apiAddress+"/24 dev fabric", "link set fabric up"); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := c.plug(n); err != nil {
			return err
		}
	}
	return nil
}

// plug gives a node that has just started its link. The link of a node before it ends with that node, but
// the kernel takes its time.
func (c *Cluster) plug(n *Node) error {
	port := "node" + strconv.Itoa(n.index)
	_ = c.Control.EnterNet("ip", "link", "delete", port).Run()
	err := ip(c.Control,
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", port, n.Machine.Pid()),
		fmt.Sprintf("link set %s master fabric up", port),
		fmt.Sprintf("route replace %s via %s", n.CIDR, n.Address))
	if err != nil {
		return err
	}
	lines := []string{"link set lo up", "addr add " + n.Address + "/24 dev eth0", "link set eth0 up", "route add default via " + apiAddress}
	for _, m := range c.Nodes {
		if m != n {
			lines = append(lines, fmt.Sprintf("route add %s via %s", m.CIDR, m.Address))
		}
	}
	return ip(n.Machine, lines...)
}

func ip(m *machine.Machine, lines ...string) error {
	cmd := m.EnterNet("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("network of %s: %w: %s", m.Name, err, out)
	}
	return nil
}
