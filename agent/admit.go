package agent

import (
	"fmt"
	"os"
	"strings"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/zds"
)

// proxyAccount runs the node proxy in Kubernetes: its own pod may of course call.
const proxyAccount = "ambit-system/ambit-ztunnel"

// Admit refuses a peer of another user, one whose cgroup would make others count as the proxy, and
// pods.
func (x *proxies) Admit(peer zds.Peer) error {
	if int(peer.UID) != os.Getuid() {
		return fmt.Errorf("uid %d is not the agent's", peer.UID)
	}
	dir, _, err := x.home(peer)
	if err != nil {
		return err
	}
	ns, err := netns.InodeAt(fmt.Sprintf("/proc/%d/ns/net", peer.PID))
	if err != nil {
		return err
	}
	for _, p := range x.a.all() {
		if p.holds(dir, ns) {
			return fmt.Errorf("cgroup %s or its network namespace is pod %s's", dir, p.uid)
		}
	}
	return nil
}

// home is a proxy's cgroup.
func (x *proxies) home(peer zds.Peer) (dir string, id uint64, err error) {
	if dir, err = x.a.cgroups.of(peer.PID); err != nil {
		return "", 0, err
	}
	if dir, id, err = x.a.cgroups.below(dir); err != nil {
		return "", 0, fmt.Errorf("the kernel tells the proxy from others by its cgroup: %w", err)
	}
	return dir, id, nil
}

// holds says whether a process in this cgroup and network namespace belongs to the pod.
func (p *pod) holds(cgroup string, ns uint64) bool {
	obj := p.object()
	if obj.HostNetwork || obj.Namespace+"/"+obj.ServiceAccount == proxyAccount {
		return false
	}
	if obj.Cgroup != "" && within(cgroup, obj.Cgroup) {
		return true
	}
	if len(p.uid) >= 32 { // kubelet's cgroups carry the uid
		if strings.Contains(cgroup, p.uid) || strings.Contains(cgroup, strings.ReplaceAll(p.uid, "-", "_")) {
			return true
		}
	}
	ino, err := netns.InodeAt(obj.NetNS)
	return err == nil && ino == ns
}
