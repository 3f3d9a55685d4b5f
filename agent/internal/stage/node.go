package stage

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/netns"
)

// Node is a network namespace with pods around it, and the directories that an agent needs.
type Node struct {
	*Process                       // a process of the node, in a cgroup that is nobody's
	CgroupMount, CgroupRoot string // the hierarchy, and the node's part of it
	Objects, RunDir, BPFFS  string

	t    testing.TB
	pods int
}

// Pod is a network namespace with a process in it.
type Pod struct {
	*Process
	Name, UID   string
	V4, V6      netip.Addr
	NetNS       string
	Cgroup      string
	Labels      string // YAML flow map
	Notes       string // annotations, ", key: value" each
	Family      int    // 4 or 6: the status names only that address
	HostNetwork bool
	node        *Node
}

// Skip skips a test that cannot run here.
func Skip(tb testing.TB) {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("needs root: makes network namespaces and loads BPF programs")
	}
}

// NewNode makes a node without pods.
func NewNode(tb testing.TB) *Node {
	tb.Helper()
	Skip(tb)
	n := &Node{t: tb}
	n.CgroupMount = cgroupMount(tb)
	sweepCgroups(n.CgroupMount)
	root, err := os.MkdirTemp(n.CgroupMount, //nolint:usetesting // a cgroup
		fmt.Sprintf("ambit-stage-%d-", os.Getpid()))
	if err != nil {
		tb.Fatalf("make cgroup: %v", err)
	}
	n.CgroupRoot = root
	tb.Cleanup(func() {
		if err := os.Remove(root); err != nil {
			tb.Errorf("remove cgroup: %v", err)
		}
	})
	dir := tb.TempDir()
	n.Objects, n.RunDir, n.BPFFS = filepath.Join(dir, "objects"), filepath.Join(dir, "run"), filepath.Join(dir, "bpf")
	for _, d := range []string{n.Objects, n.RunDir, n.BPFFS} {
		if err := os.Mkdir(d, 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	if err := unix.Mount("bpf", n.BPFFS, "bpf", 0, "mode=0700"); err != nil {
		tb.Fatalf("mount bpffs: %v", err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(n.BPFFS, 0); err != nil {
			tb.Errorf("unmount bpffs: %v", err)
		}
	})
	n.Process = start(tb, "box", place{cgroup: n.Cgroup("stranger")})
	for _, k := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		n.Process.Sysctl(tb, k, "1")
	}
	return n
}

// cgroupMount is where the cgroup2 hierarchy is mounted.
func cgroupMount(tb testing.TB) string {
	tb.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	tb.Skip("no cgroup2 hierarchy is mounted")
	return ""
}

// sweepCgroups removes what killed tests left: directories without processes.
func sweepCgroups(mount string) {
	old, err := filepath.Glob(filepath.Join(mount, "ambit-stage-*"))
	if err != nil {
		return
	}
	for _, dir := range old {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "ambit-stage-%d-", &pid); err != nil || unix.Kill(pid, 0) == nil {
			continue
		}
		inner, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			continue
		}
		for _, d := range append(inner, dir) {
			os.Remove(d) //nolint:errcheck // files refuse, directories in use too
		}
	}
}

// Cgroup makes a cgroup of the node.
func (n *Node) Cgroup(name string) string {
	n.t.Helper()
	dir := filepath.Join(n.CgroupRoot, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		n.t.Fatalf("make cgroup: %v", err)
	}
	n.t.Cleanup(func() {
		if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
			n.t.Errorf("remove cgroup: %v", err)
		}
	})
	return dir
}

// NetNS is the file of a process's network namespace.
func (p *Process) NetNS() string { return fmt.Sprintf("/proc/%d/ns/net", p.PID) }

// Box starts another process of the node, in a cgroup of this name.
func (n *Node) Box(cgroup string) *Process {
	n.t.Helper()
	return start(n.t, "box", place{netns: n.NetNS(), cgroup: n.Cgroup(cgroup)})
}

// BoxAt starts another process of the node in any cgroup directory.
func (n *Node) BoxAt(dir string) *Process {
	n.t.Helper()
	return start(n.t, "box", place{netns: n.NetNS(), cgroup: dir})
}

// Role starts a process of another role on the node, in a cgroup of this name.
func (n *Node) Role(role, cgroup string, env ...string) *Process {
	n.t.Helper()
	return start(n.t, role, place{netns: n.NetNS(), cgroup: n.Cgroup(cgroup), env: env})
}

// Proxy starts a node proxy.
func (n *Node) Proxy(cgroup string) *Process {
	n.t.Helper()
	return n.Role("proxy", cgroup, "AMBIT_STAGE_ZDS="+n.Socket())
}

// Socket is the path of the ZDS socket.
func (n *Node) Socket() string { return filepath.Join(n.RunDir, "zds", "zds.sock") }

// Restart gives the pod a new sandbox: another network namespace with the same addresses.
func (p *Pod) Restart(num int) {
	t := p.node.t
	t.Helper()
	p.Process.Kill()
	p.node.unwire(num)
	p.Process = start(t, "box", place{cgroup: p.Cgroup})
	p.NetNS = p.Process.NetNS()
	if err := p.node.wire(p, num); err != nil {
		t.Fatalf("wire pod %s: %v", p.Name, err)
	}
	p.Process.Listen(t, ":8080", p.Name)
}

// Pod makes a pod with a server on port 8080, and writes its object.
func (n *Node) Pod(name string) *Pod {
	n.t.Helper()
	n.pods++
	return n.PodAt(name, n.pods)
}

// PodAt makes a pod with a certain number, which decides its addresses.
func (n *Node) PodAt(name string, num int) *Pod {
	n.t.Helper()
	p := &Pod{Name: name, UID: "uid-" + name, node: n, Cgroup: n.Cgroup("pod-" + name)}
	n.furnish(p, num)
	p.Write()
	return p
}

// Sandbox makes a pod as kubelet does: its cgroup has its uid, and its object is another's matter.
func (n *Node) Sandbox(name, uid string) *Pod {
	n.t.Helper()
	n.pods++
	p := &Pod{Name: name, UID: uid, node: n, Cgroup: n.Cgroup("pod" + uid)}
	n.furnish(p, n.pods)
	return p
}

func (n *Node) furnish(p *Pod, num int) {
	n.t.Helper()
	p.V4 = netip.MustParseAddr(fmt.Sprintf("10.77.%d.2", num))
	p.V6 = netip.MustParseAddr(fmt.Sprintf("fd77:%d::2", num))
	p.Process = start(n.t, "box", place{cgroup: p.Cgroup})
	p.NetNS = p.Process.NetNS()
	if err := n.wire(p, num); err != nil {
		n.t.Fatalf("wire pod %s: %v", p.Name, err)
	}
	p.Process.Listen(n.t, ":8080", p.Name)
	n.t.Cleanup(func() { n.unwire(num) })
}

// wire joins a pod to the node by a veth pair.
func (n *Node) wire(p *Pod, num int) error {
	veth := fmt.Sprintf("v%d", num)
	v4, v6 := fmt.Sprintf("10.77.%d.1", num), fmt.Sprintf("fd77:%d::1", num)
	err := within(n.Process.NetNS(), func() error {
		v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth0", PeerNamespace: netlink.NsPid(p.PID)}
		v.Name = veth
		if err := netlink.LinkAdd(v); err != nil {
			return fmt.Errorf("add veth: %w", err)
		}
		return addresses(veth, v4+"/24", v6+"/64")
	})
	if err != nil {
		return err
	}
	return within(p.NetNS, func() error {
		if err := addresses("eth0", p.V4.String()+"/24", p.V6.String()+"/64"); err != nil {
			return err
		}
		for _, gw := range []string{v4, v6} {
			if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)}); err != nil {
				return fmt.Errorf("default route: %w", err)
			}
		}
		return nil
	})
}

func (n *Node) unwire(num int) {
	within(n.Process.NetNS(), func() error { //nolint:errcheck // it goes with the namespaces too, only later
		l, err := netlink.LinkByName(fmt.Sprintf("v%d", num))
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
}

// Unwire removes the pod's device, as a CNI does when the pod is deleted.
func (p *Pod) Unwire(num int) { p.node.unwire(num) }

func within(path string, f func() error) error {
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(f)
}

func addresses(dev string, cidrs ...string) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	for _, c := range cidrs {
		a, err := netlink.ParseAddr(c)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return fmt.Errorf("address %s: %w", c, err)
		}
	}
	return netlink.LinkSetUp(l)
}

// Namespace writes the pods' namespace with labels and annotations (YAML flow maps).
func (n *Node) Namespace(labels, annotations string) {
	n.t.Helper()
	n.Put("namespace", fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {%s}, annotations: {%s}}\n", labels, annotations))
}

// Write writes the pod's object.
func (p *Pod) Write() {
	p.node.t.Helper()
	p.node.Put("pod-"+p.Name, fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata:
  {name: %s, namespace: shop, uid: %s, labels: {%s}, annotations: {ambit.dev/netns: %s, ambit.dev/cgroup: %s%s}}
spec: {nodeName: node, hostNetwork: %v}
status: {phase: Running, podIPs: [%s]}
`, p.Name, p.UID, p.Labels, p.NetNS, p.Cgroup, p.Notes, p.HostNetwork, p.podIPs()))
}

func (p *Pod) podIPs() string {
	var out []string
	if p.Family != 6 {
		out = append(out, fmt.Sprintf("{ip: %q}", p.V4))
	}
	if p.Family != 4 {
		out = append(out, fmt.Sprintf("{ip: %q}", p.V6))
	}
	return strings.Join(out, ", ")
}

// Delete removes the pod's object.
func (p *Pod) Delete() {
	p.node.t.Helper()
	if err := os.Remove(filepath.Join(p.node.Objects, "pod-"+p.Name+".yaml")); err != nil {
		p.node.t.Fatal(err)
	}
}

// Put writes an object.
func (n *Node) Put(name, yaml string) {
	n.t.Helper()
	path := filepath.Join(n.Objects, name+".yaml")
	tmp := filepath.Join(n.RunDir, name+".new")
	if err := os.WriteFile(tmp, []byte(yaml), 0o600); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		n.t.Fatal(err)
	}
}

// At joins an address and a port.
func At(a netip.Addr, port int) string { return netip.AddrPortFrom(a, uint16(port)).String() }

// IP is the address of a "ip:port".
func IP(addrPort string) string {
	host, _, _ := strings.Cut(addrPort, "]:")
	if host != addrPort {
		return strings.TrimPrefix(host, "[")
	}
	host, _, _ = strings.Cut(addrPort, ":")
	return host
}
