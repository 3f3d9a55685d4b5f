package machine

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"path/filepath"
)

const cgroupRoot = "/sys/fs/cgroup"

// Main does not return in a process that is to be a machine's first; in all others it does nothing.
func Main() {
	dir, file := os.Getenv(tryEnv), os.Getenv(roleEnv)
	var err error
	switch {
	case dir != "":
		err = tryMounts(dir)
	case file != "":
		err = be(file)
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// be has two stages: a cgroup namespace has its root where the process is that makes it, and only a
// process that has one thread, after exec, is wholly in it.
func be(file string) error {
	s, err := readSpec(file)
	if err != nil {
		return err
	}
	const second = roleEnv + "_STAGE"
	if os.Getenv(second) == "" {
		if err := joinCgroups(s.Cgroup); err != nil {
			return err
		}
		runtime.LockOSThread()
		if err := syscall.Unshare(syscall.CLONE_NEWCGROUP); err != nil {
			return fmt.Errorf("make cgroup namespace: %w", err)
		}
		return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), second+"=2"))
	}
	for _, e := range []string{second, roleEnv} {
		if err := os.Unsetenv(e); err != nil {
			return err
		}
	}
	if err := s.settle(); err != nil {
		return err
	}
	return newKeeper(s).run()
}

// settle lays out what the machine sees.
func (s Spec) settle() error {
	if err := syscall.Sethostname([]byte(s.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts from the host: %w", err)
	}
	if err := mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := s.mountSys(); err != nil {
		return err
	}
	if s.Node == nil {
		return nil
	}
	return s.Node.settle(s)
}

// mountSys gives the machine its own /sys (devices of its network), BPF file system and cgroups.
func (s Spec) mountSys() error {
	layout, err := hierarchies()
	if err != nil {
		return err
	}
	if err := syscall.Unmount("/sys", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount /sys: %w", err)
	}
	if err := mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	if err := mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=700"); err != nil {
		return err
	}
	_ = mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, "")
	_ = mount("securityfs", "/sys/kernel/security", "securityfs", 0, "")
	return mountCgroups(layout)
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, target, err)
	}
	return nil
}

func bind(source, target string) error {
	if err := syscall.Mount(source, target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", source, target, err)
	}
	return nil
}

func writeFile(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("make directory of %s: %w", file, err)
	}
	return os.WriteFile(file, data, 0o644)
}
