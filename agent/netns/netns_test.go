package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// fresh is a namespace of a process that sleeps until the test ends.
func fresh(t *testing.T) (*NS, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"AMBIT_NETNS_SLEEP=1"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	path := fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
	ns, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns, path
}

func TestMain(m *testing.M) {
	if os.Getenv("AMBIT_NETNS_SLEEP") != "" {
		os.Stdin.Read(make([]byte, 1)) // until the other end is closed
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestOnlyNamespacesAreOpened(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/", pipe, "/dev/null", "/proc/self/ns/uts", "/nowhere"} {
		if ns, err := Open(path); err == nil {
			ns.Close()
			t.Errorf("%q was opened", path)
		}
	}
}

func TestConfigureAndBack(t *testing.T) {
	ns, _ := fresh(t)
	a := Addrs{V4: netip.MustParseAddr("10.1.2.3"), V6: netip.MustParseAddr("fd00::3")}
	if err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/fwmark_reflect", []byte("1"), 0o644) }); err != nil {
		t.Fatal(err)
	}
	if missing, err := ns.Missing(a); err != nil || !missing.IsValid() {
		t.Errorf("addresses that are nowhere: %s %v", missing, err)
	}
	if err := ns.Do(func() error { return addresses(a) }); err != nil {
		t.Fatal(err)
	}
	if missing, err := ns.Missing(a); err != nil || missing.IsValid() {
		t.Errorf("addresses that are there: %s %v", missing, err)
	}
	saved, err := ns.Before(a, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be repeated
		if err := ns.Configure(a); err != nil {
			t.Fatal(err)
		}
	}
	again, err := ns.Before(a, saved)
	if err != nil || again != saved {
		t.Errorf("what was before is now %b, was %b: %v", again, saved, err)
	}
	if found, err := ns.Configured(); err != nil || !found {
		t.Errorf("configured: %v %v", found, err)
	}
	for range 2 {
		if err := ns.Deconfigure(saved); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := ns.Configured(); err != nil || found {
		t.Errorf("configured after the end: %v %v", found, err)
	}
	after, err := ns.Before(a, 0)
	if err != nil || after != saved {
		t.Errorf("sysctls are %b, were %b: %v", after, saved, err)
	}
}

// addresses gives lo the addresses: a route with src needs them.
func addresses(a Addrs) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, addr := range a.Valid() {
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: netlink.NewIPNet(addr.AsSlice()), Flags: nodad(addr)}); err != nil {
			return err
		}
	}
	return nil
}

func TestListeners(t *testing.T) {
	ns, path := fresh(t)
	other, _ := fresh(t)
	set, err := ns.Listen(true)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(set)
	if len(set) != 6 {
		t.Fatalf("%d listeners, want 6", len(set))
	}
	for _, l := range set {
		if !ns.IsListener(l.FD) {
			t.Errorf("%+v is not taken as a listener", l)
		}
		if other.IsListener(l.FD) {
			t.Errorf("%+v is taken as another namespace's", l)
		}
		if n, err := ResetQueue(l.FD, 5); n != 0 || err != nil {
			t.Errorf("empty queue: %d %v", n, err)
		}
	}
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(udp)
	if ns.IsListener(udp) || ns.IsListener(int(ns.File().Fd())) {
		t.Error("something else is taken as a listener")
	}
	found := Find(ns.Inode, ns.Cookie)
	if found == nil {
		t.Fatalf("%s is not found again", path)
	}
	found.Close()
	if ns := Find(ns.Inode, 1); ns != nil {
		t.Error("found by inode alone")
	}
}

func FuzzMounted(f *testing.F) {
	f.Add("40 30 0:4 net:[4026532000] /run/netns/a rw - nsfs none rw\n", uint64(4026532000))
	f.Add("x", uint64(0))
	f.Fuzz(func(t *testing.T, mountinfo string, inode uint64) {
		for _, path := range mounted(mountinfo, inode) {
			if path == "" {
				t.Error("an empty path")
			}
		}
	})
}

func nodad(a netip.Addr) int {
	if a.Is6() {
		return unix.IFA_F_NODAD
	}
	return 0
}

// TestOpenIn: links are those of the other root.
func TestOpenIn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a namespace")
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "elsewhere", "netns"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/elsewhere", filepath.Join(root, "run")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "elsewhere", "netns", "x")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := OpenIn(root, "/run/netns/x"); err == nil {
		f.Close()
		t.Error("an ordinary file was taken for a namespace")
	}
	if err := unix.Mount("/proc/self/ns/net", file, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for _, at := range [][2]string{{root, "/run/netns/x"}, {"/", "/proc/self/ns/net"}} {
		f, err := OpenIn(at[0], at[1])
		if err != nil {
			t.Errorf("%v: %v", at, err)
			continue
		}
		f.Close()
	}
	if f, err := OpenIn(root, "/run/netns/missing"); err == nil {
		f.Close()
		t.Error("a missing file was opened")
	}
}

// TestDoMeetsClose is for the race detector: a descriptor that is closed while it is entered may be another file's.
func TestDoMeetsClose(t *testing.T) {
	ns, path := fresh(t)
	for range 50 {
		same, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			done <- same.Do(func() error {
				if c, err := currentCookie(); err != nil || c != ns.Cookie {
					return fmt.Errorf("in namespace %d: %w", c, err)
				}
				return nil
			})
		}()
		if err := same.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
}
