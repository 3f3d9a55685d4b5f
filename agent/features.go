package agent

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/netns"
)

// Features tries what redirection needs of the kernel and of the node.
func Features(cgroupRoot, bpffs string) []Feature {
	out := []Feature{kernelVersion(), privileges(), cgroup2(cgroupRoot), bpfFS(bpffs)}
	for _, p := range []struct {
		name string
		err  error
		want string
	}{
		{"connect hooks", features.HaveProgramType(ebpf.CGroupSockAddr), "CONFIG_CGROUP_BPF"},
		{"sockops", features.HaveProgramType(ebpf.SockOps), "CONFIG_CGROUP_BPF"},
		{"sk_lookup", features.HaveProgramType(ebpf.SkLookup), "kernel 5.9, CONFIG_NET, CONFIG_BPF_SYSCALL"},
		{"socket map", features.HaveMapType(ebpf.SockHash), "CONFIG_BPF_STREAM_PARSER or CONFIG_NET_SOCK_MSG"},
		{"socket storage", features.HaveMapType(ebpf.SkStorage), "kernel 5.3"},
		{"cgroup id in connect hooks", features.HaveProgramHelper(ebpf.CGroupSockAddr, asm.FnGetCurrentCgroupId), "kernel 5.7"},
		{"set socket options in connect hooks", features.HaveProgramHelper(ebpf.CGroupSockAddr, asm.FnSetsockopt), "kernel 5.8"},
		{"netns cookie in connect hooks", features.HaveProgramHelper(ebpf.CGroupSockAddr, asm.FnGetNetnsCookie), "kernel 5.7"},
		{"netns cookie in sockops", features.HaveProgramHelper(ebpf.SockOps, asm.FnGetNetnsCookie), "kernel 5.15"},
	} {
		out = append(out, tried(p.name, true, p.err, "loads", "needs "+p.want))
	}
	out = append(out, netnsCookie(), btf(), sockDestroy())
	for _, s := range []string{"ipv4/tcp_fwmark_accept", "ipv4/fwmark_reflect"} {
		_, err := os.Stat("/proc/sys/net/" + s)
		out = append(out, tried("sysctl net."+strings.ReplaceAll(s, "/", "."), true, err, "there", "the way back of the proxy's connections to applications needs it"))
	}
	_, err := os.Stat("/proc/sys/net/ipv6/fwmark_reflect")
	return append(out, tried("IPv6", false, err, "there", "IPv6 of pods is not captured"))
}

// Missing joins the required features that are not there.
func Missing(all []Feature) error {
	var errs []error
	for _, f := range all {
		if f.Required && !f.OK {
			errs = append(errs, fmt.Errorf("missing %s: %s", f.Name, f.Detail))
		}
	}
	return errors.Join(errs...)
}

func tried(name string, required bool, err error, good, bad string) Feature {
	if err != nil {
		return Feature{Name: name, Required: required, Detail: fmt.Sprintf("%s (%v)", bad, err)}
	}
	return Feature{Name: name, OK: true, Required: required, Detail: good}
}

func kernelVersion() Feature {
	f := Feature{Name: "kernel", Required: true}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		f.Detail = err.Error()
		return f
	}
	release := unix.ByteSliceToString(u.Release[:])
	f.OK = newEnough(release)
	f.Detail = release
	if !f.OK {
		f.Detail += ": 6.1 or newer is needed"
	}
	return f
}

func newEnough(release string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 6 || major == 6 && minor >= 1
}

func privileges() Feature {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&hdr, &data[0])
	for name, bit := range map[string]int{"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_BPF": unix.CAP_BPF} {
		if err == nil && data[bit/32].Effective&(1<<(bit%32)) == 0 {
			err = fmt.Errorf("%s is missing", name)
		}
	}
	return tried("privileges", true, err, "CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN", "run as root")
}

func cgroup2(root string) Feature {
	c, err := findCgroups(root)
	return tried("cgroup2", true, err, c.root+" (mounted at "+c.mount+")", "the connect hooks are attached there")
}

const bpffsMagic = 0xcafe4a11

func isBPFFS(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, fmt.Errorf("statfs %s: %w", path, err)
	}
	return uint32(st.Type) == bpffsMagic, nil
}

func bpfFS(path string) Feature {
	is, err := isBPFFS(path)
	if is {
		return Feature{Name: "bpffs", OK: true, Required: true, Detail: "mounted at " + path}
	}
	known, readErr := os.ReadFile("/proc/filesystems")
	if readErr == nil && strings.Contains(string(known), "\tbpf\n") {
		return Feature{Name: "bpffs", OK: true, Required: true, Detail: "will be mounted at " + path}
	}
	return tried("bpffs", true, errors.Join(err, readErr, errors.New("not in /proc/filesystems")), "", "pins keep capture at work without the agent")
}

func netnsCookie() Feature {
	ns, err := netns.Self()
	if err == nil {
		err = ns.Close()
	}
	return tried("SO_NETNS_COOKIE", true, err, "there", "needs kernel 5.14")
}

func btf() Feature {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	return tried("kernel BTF", false, err, "there", "not needed by these programs, which touch no kernel structure")
}

// sockDestroy asks to kill a connection that cannot exist: a kernel without it answers EOPNOTSUPP.
func sockDestroy() Feature {
	const name = "INET_DIAG_DESTROY"
	const sockDestroy = 21 // SOCK_DESTROY
	req := nl.NewNetlinkRequest(sockDestroy, unix.NLM_F_ACK)
	body := make([]byte, 56) // struct inet_diag_req_v2: family, protocol, ext, pad, states, id
	body[0], body[1] = unix.AF_INET, unix.IPPROTO_TCP
	for i := 48; i < 56; i++ {
		body[i] = 0xff // no cookie
	}
	body[9], body[11] = 1, 1 // ports 1 and 1
	req.AddRawData(body)
	_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return tried(name, false, err, "there", "live connections cannot be ended from outside")
}
