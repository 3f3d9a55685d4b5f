package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Node is one machine of the cluster.
type Node struct {
	*Host
	V4, V6     netip.Addr // on the fabric
	index      int
	net4, net6 netip.Prefix

	mu       sync.Mutex
	nextPod  int // number of the next address
	links    int // names given to links
	agent    process
	ztunnels []*Ztunnel
	started  int // ztunnels ever
}

// Node finds a node by name; nil if there is none.
func (l *Lab) Node(name string) *Node { return l.nodes[name] }

// RunDir holds the node's sockets.
func (n *Node) RunDir() string { return filepath.Join(n.dir(), "run") }

func (n *Node) dir() string { return filepath.Join(n.lab.Dir(), "nodes", n.Name) }

// Instance names the node's pins.
func (n *Node) Instance() string { return n.lab.opts.Name + "-" + n.Name }

// KubeletCgroup is the cgroup whose connections are probes.
func (n *Node) KubeletCgroup() string { return filepath.Join(n.cgroup, "kubelet") }

// HostCgroup is that of the node's other processes.
func (n *Node) HostCgroup() string { return filepath.Join(n.cgroup, "host") }

// Gateway is the node's address towards its pods: the source of what the node itself sends them.
func (n *Node) Gateway() (v4, v6 netip.Addr) { return inNet(n.net4, 1), inNet(n.net6, 1) }

// Unused is an address of the node's pods that none has; to call it fails at once.
func (n *Node) Unused() (v4, v6 netip.Addr) { return inNet(n.net4, 0xfffe), inNet(n.net6, 0xfffe) }

func (n *Node) makeDirs() error {
	for _, d := range []string{"agent", "ztunnel", "kubelet", "host", "pods"} {
		if err := makeCgroup(filepath.Join(n.cgroup, d)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(n.RunDir(), 0o700); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	return nil
}

// give returns addresses and the name of a link for a new namespace on the node.
func (n *Node) give() (v4, v6 netip.Addr, link string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nextPod++
	return inNet(n.net4, n.nextPod), inNet(n.net6, n.nextPod), n.nameLink()
}

func (n *Node) nameLink() string {
	n.links++
	return fmt.Sprintf("pod%d", n.links)
}

// attach links a host to the node as CNI's ptp plugin does: routed, with host addresses only.
func (n *Node) attach(h *Host, link string, addrs ...netip.Addr) error {
	if err := pair(n.lab.opts.MTU, n.Host, link, h, uplink); err != nil {
		return err
	}
	gw4, gw6 := n.Gateway()
	for _, a := range addrs {
		gw, all := gw4, default4
		if a.Is6() {
			gw, all = gw6, default6
		}
		if err := n.address(link, whole(gw)); err != nil {
			return err
		}
		if err := n.route(whole(a), link, netip.Addr{}); err != nil {
			return err
		}
		if err := h.address(uplink, whole(a)); err != nil {
			return err
		}
		if err := h.route(whole(gw), uplink, netip.Addr{}); err != nil {
			return err
		}
		if err := h.route(all, uplink, gw); err != nil {
			return err
		}
	}
	return nil
}

// detach takes the link away: the node must forget a dead pod's routes even if something keeps its
// namespace alive.
func (n *Node) detach(link string) error {
	l, err := n.link(link)
	if err != nil {
		return nil // it went with the namespace
	}
	if err := n.ns.h.LinkDel(l); err != nil {
		return fmt.Errorf("remove link %s of %s: %w", link, n.Name, err)
	}
	return nil
}

// Ztunnels are those started and not removed, the oldest first.
func (n *Node) Ztunnels() []*Ztunnel {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.ztunnels)
}
