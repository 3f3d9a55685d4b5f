package lab

import (
	"context"
	"net"
	"path/filepath"
)

// Host is a place with a network namespace and a cgroup: a node, a pod, the controller, the fabric.
type Host struct {
	Name   string
	lab    *Lab
	ns     *netNS
	cgroup string // directory; "" has none
}

// NetNS is the file of the namespace.
func (h *Host) NetNS() string { return h.ns.path }

// Cgroup is the directory of the cgroup.
func (h *Host) Cgroup() string { return h.cgroup }

// Do runs f on a thread inside the namespace, but in this process's cgroup: what f connects is not the
// pod's to the mesh. f must not start goroutines that need the namespace.
func (h *Host) Do(f func() error) error { return h.ns.do(f) }

// Dial connects from inside the namespace, but from this process's cgroup. address must be numeric.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.ns.dial(ctx, network, address)
}

// newHost makes a namespace and a cgroup, whose path is relative to the lab's.
func (l *Lab) newHost(name, cgroup string) (*Host, error) {
	h := &Host{Name: name, lab: l}
	if cgroup != "" {
		h.cgroup = filepath.Join(l.cgroup, cgroup)
		if err := makeCgroup(h.cgroup); err != nil {
			return nil, err
		}
	}
	var err error
	if h.ns, err = newNetNS(l.nsPath(name)); err != nil {
		return nil, err
	}
	return h, h.upLoopback()
}
