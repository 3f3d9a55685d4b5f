package machine

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// settle gives the node its own /etc, /opt and /var/lib (the host's below, what it writes in its Dir), an
// empty /run, and the directories of the kubelet and the runtime on the Dir's own file system.
func (n Node) settle(s Spec) error {
	files := filepath.Join(s.Dir, "files")
	for _, d := range []string{"/etc", "/opt", "/var/lib"} {
		if err := overlay(d, filepath.Join(s.Dir, "changes", d)); err != nil {
			return err
		}
	}
	for _, d := range []string{"/var/lib/kubelet", "/var/lib/containerd", "/var/log"} {
		for _, p := range []string{d, files + d} {
			if err := os.MkdirAll(p, 0o755); err != nil {
				return fmt.Errorf("make directory of node: %w", err)
			}
		}
		if err := bind(files+d, d); err != nil {
			return err
		}
	}
	if err := emptyRun(); err != nil {
		return err
	}
	for _, step := range []func(Spec) error{n.etc, n.kernelSettings, n.plugins} {
		if err := step(s); err != nil {
			return err
		}
	}
	// Within the node mounts propagate: the kubelet and mountPropagation need that.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts within the node: %w", err)
	}
	return sysctls()
}

func overlay(dir, changes string) error {
	for _, d := range []string{"upper", "work"} {
		if err := os.MkdirAll(filepath.Join(changes, d), 0o755); err != nil {
			return fmt.Errorf("make directory of changes: %w", err)
		}
	}
	return mount("overlay", dir, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%[2]s/upper,workdir=%[2]s/work", dir, changes))
}

// emptyRun lets go of what the host has mounted below /run.
func emptyRun() error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if at := strings.Fields(lines[i])[4]; strings.HasPrefix(at, "/run/") {
			_ = syscall.Unmount(at, syscall.MNT_DETACH) // covered by the tmpfs in any case
		}
	}
	if err := mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, d := range []string{"/run/netns", "/run/containerd", "/run/lock"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", d, err)
		}
	}
	return nil
}

func (n Node) etc(s Spec) error {
	files := map[string]string{
		"/etc/hosts":       fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", n.Address, s.Name),
		"/etc/resolv.conf": "",
		"/etc/hostname":    s.Name + "\n",
		"/etc/machine-id":  fmt.Sprintf("%x\n", sha256.Sum256([]byte(s.Cgroup)))[:32] + "\n",
	}
	for f, text := range files {
		_ = syscall.Unmount(f, syscall.MNT_DETACH) // a container's host may have mounted it
		if err := os.Remove(f); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("replace %s: %w", f, err)
		}
		if err := writeFile(f, []byte(text)); err != nil {
			return err
		}
	}
	const conflist = "/etc/cni/net.d/10-test.conflist"
	if _, err := os.Stat(conflist); err == nil {
		return nil // a restart: what is there stays
	}
	return writeFile(conflist, n.CNI)
}

// kernelSettings are the host's, for all of its kernel. The kubelet demands some (panic on oops, say): it
// finds them as it wants them, and the host keeps its own.
func (n Node) kernelSettings(Spec) error {
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		f := "/run/kernel/" + strings.ReplaceAll(name, "/", "_")
		if err := writeFile(f, []byte(value+"\n")); err != nil {
			return err
		}
		if err := bind(f, "/proc/sys/"+name); err != nil {
			return err
		}
	}
	return nil
}

func sysctls() error {
	for name, value := range map[string]string{
		"ip_forward": "1", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0",
	} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set net.ipv4 %s: %w", name, err)
		}
	}
	return nil
}

// plugins copies the CNI plugins: the directory is the node's own, as an installed one is.
func (n Node) plugins(Spec) error {
	all, err := os.ReadDir(n.Plugins)
	if err != nil {
		return fmt.Errorf("list CNI plugins: %w", err)
	}
	if err := os.MkdirAll("/opt/cni/bin", 0o755); err != nil {
		return fmt.Errorf("make directory of CNI plugins: %w", err)
	}
	for _, e := range all {
		b, err := os.ReadFile(filepath.Join(n.Plugins, e.Name()))
		if err != nil {
			return fmt.Errorf("read CNI plugin: %w", err)
		}
		to := filepath.Join("/opt/cni/bin", e.Name())
		if err := os.WriteFile(to+".new", b, 0o755); err != nil {
			return fmt.Errorf("write CNI plugin: %w", err)
		}
		if err := os.Rename(to+".new", to); err != nil {
			return fmt.Errorf("put CNI plugin: %w", err)
		}
	}
	return nil
}
