// Command init is the first process of the virtual machine: it mounts what the tests need, inserts the
// modules named in /modules/order, runs the test binaries named in /tests, and ends the machine.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func main() {
	code := 1
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stdout, "init:", err)
	} else {
		code = run()
	}
	fmt.Fprintln(os.Stdout, "EXIT", code)
	unix.Sync()
	time.Sleep(time.Second)                                            // the serial port is slow
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil { // qemu runs with -no-reboot
		fmt.Fprintln(os.Stdout, "init: reboot:", err)
	}
	select {}
}

func prepare() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"},
		{"cgroup2", "/sys/fs/cgroup"}, {"bpf", "/sys/fs/bpf"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "BOOTED", unix.ByteSliceToString(u.Release[:]))
	if err := loopback(); err != nil {
		return err
	}
	order, err := os.ReadFile("/modules/order")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(order)) {
		if err := insert(filepath.Join("/modules", name)); err != nil {
			return err
		}
	}
	return nil
}

// loopback brings lo up, as on any machine.
func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

func insert(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		return fmt.Errorf("insert %s: %w", path, err)
	}
	return nil
}

func run() (code int) {
	tests, err := filepath.Glob("/tests/*.test")
	if err != nil || len(tests) == 0 {
		fmt.Fprintln(os.Stdout, "init: no tests:", err)
		return 1
	}
	for _, path := range tests {
		cmd := exec.Command(path, "-test.v", "-test.short", "-test.timeout=30m")
		cmd.Dir, cmd.Stdout, cmd.Stderr = "/tmp", os.Stdout, os.Stdout
		cmd.Env = []string{"PATH=/", "TMPDIR=/tmp", "HOME=/tmp", "AMBIT_STAGE_WHOLE=1"}
		fmt.Fprintln(os.Stdout, "RUN", filepath.Base(path))
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(os.Stdout, "init:", path, err)
			code = 1
		}
	}
	return code
}
