package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mounts gives a private bpffs and a cgroup, both removed with the test.
func mounts(t *testing.T) (bpffs, cgroup string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: loads BPF programs")
	}
	bpffs = t.TempDir()
	if err := unix.Mount("ambit-test", bpffs, "bpf", 0, "mode=0700"); err != nil {
		t.Fatalf("mount bpffs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(bpffs, 0); err != nil {
			t.Errorf("unmount bpffs: %v", err)
		}
	})
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		cgroup = filepath.Join(root, fmt.Sprintf("ambit-bpf-test-%d", os.Getpid()))
		if err := os.MkdirAll(cgroup, 0o755); err != nil {
			t.Fatalf("make cgroup: %v", err)
		}
		t.Cleanup(func() {
			if err := os.Remove(cgroup); err != nil {
				t.Errorf("remove cgroup: %v", err)
			}
		})
		return bpffs, cgroup
	}
	t.Skip("no cgroup2 mount")
	return "", ""
}

func load(t *testing.T, o Options) *Mesh {
	t.Helper()
	m, err := Load(o)
	if err != nil {
		t.Fatalf("load: %+v", err)
	}
	return m
}

func TestVerifierBudget(t *testing.T) {
	bpffs, cgroup := mounts(t)
	m := load(t, Options{BPFFS: bpffs, Instance: "a", Cgroup: cgroup})
	defer m.Close()
	seen, err := m.Verified()
	if err != nil {
		t.Fatal(err)
	}
	const quarter = 1_000_000 / 4
	for name, n := range seen {
		t.Logf("%s: %d instructions", name, n)
		if n == 0 || n > quarter {
			t.Errorf("%s: the verifier walked %d instructions, want 1 to %d", name, n, quarter)
		}
	}
	if len(seen) != 6 {
		t.Errorf("got %d programs, want 6", len(seen))
	}
}

func TestPinsOutliveTheProcessAndAreAdopted(t *testing.T) {
	bpffs, cgroup := mounts(t)
	o := Options{BPFFS: bpffs, Instance: "a", Cgroup: cgroup}
	m := load(t, o)
	want := Pod{V4: netip.MustParseAddr("10.1.2.3"), V6: netip.MustParseAddr("fd00::5"), Mark: 1, Mask: 3, Capture: true, Inode: 7, Saved: 9}
	if err := m.PutPod(42, want); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(o); !errors.Is(err, ErrLocked) {
		t.Errorf("second load: %v, want ErrLocked", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("pin directory has mode %o, want 700", info.Mode().Perm())
	}
	m = load(t, o)
	defer m.Close()
	got, ok, err := m.Pod(42)
	if err != nil || !ok || got != want {
		t.Errorf("pod after reload: %+v %v %v, want %+v", got, ok, err, want)
	}
	if err := m.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bpffs, "ambit")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins left: %v", err)
	}
}

func TestUnfinishedPinsAreSwept(t *testing.T) {
	bpffs, cgroup := mounts(t)
	dead := filepath.Join(bpffs, "ambit", "a"+unfinished+"1")
	if err := os.MkdirAll(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	m := load(t, Options{BPFFS: bpffs, Instance: "a", Cgroup: cgroup})
	defer m.Close()
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unfinished directory still there: %v", err)
	}
	names, err := Instances(bpffs)
	if err != nil || len(names) != 1 || names[0] != "a" {
		t.Errorf("instances: %v %v, want [a]", names, err)
	}
}

func TestOtherLayoutIsRefused(t *testing.T) {
	bpffs, cgroup := mounts(t)
	o := Options{BPFFS: bpffs, Instance: "a", Cgroup: cgroup}
	m := load(t, o)
	if err := os.Remove(filepath.Join(m.dir, "pods")); err != nil {
		t.Fatal(err)
	}
	if err := m.obj.Settings.Pin(filepath.Join(m.dir, "pods")); err != nil {
		// A map has one pin: move it, so that "pods" is an array of another shape.
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(o); !errors.Is(err, ErrIncompatible) {
		t.Errorf("load: %v, want ErrIncompatible", err)
	}
	if err := Discard(bpffs, "a"); err != nil {
		t.Fatal(err)
	}
	if err := load(t, o).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestInstanceNames(t *testing.T) {
	for name, ok := range map[string]bool{"node-a": true, "A_1": true, "": false, "a.b": false, "../x": false, "a" + unfinished: false} {
		if err := checkInstance(name); (err == nil) != ok {
			t.Errorf("instance %q: %v, want ok %v", name, err, ok)
		}
	}
}

func TestExclusionsAndCounters(t *testing.T) {
	bpffs, cgroup := mounts(t)
	m := load(t, Options{BPFFS: bpffs, Instance: "a", Cgroup: cgroup})
	defer m.Close()
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for _, set := range []struct {
		addr  netip.Addr
		ports []uint16
	}{{a, []uint16{1, 2}}, {b, []uint16{3}}, {a, []uint16{2, 4}}} {
		if err := m.SetExcluded(set.addr, set.ports); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := size[meshPortKey, uint32](m.obj.Excluded); err != nil || n != 3 {
		t.Errorf("excluded ports: %d %v, want 3", n, err)
	}
	if err := m.ForgetAddress(a); err != nil {
		t.Fatal(err)
	}
	if n, err := size[meshPortKey, uint32](m.obj.Excluded); err != nil || n != 1 {
		t.Errorf("excluded ports: %d %v, want 1", n, err)
	}
	c, err := m.Counters()
	if err != nil || len(c) != int(m.obj.Counters.MaxEntries()+m.obj.DirectCounters.MaxEntries()) {
		t.Errorf("counters: %v %v, want %d", c, err, len(counterNames)+len(directCounterNames))
	}
}

func TestHooksFollowTheCgroup(t *testing.T) {
	bpffs, cgroup := mounts(t)
	first, second := filepath.Join(cgroup, "first"), filepath.Join(cgroup, "second")
	for _, dir := range []string{first, second} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(dir) })
	}
	if err := load(t, Options{BPFFS: bpffs, Instance: "a", Cgroup: first}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := load(t, Options{BPFFS: bpffs, Instance: "a", Cgroup: second}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(second); err != nil { // the links go with it, their pins stay
		t.Fatal(err)
	}
	m := load(t, Options{BPFFS: bpffs, Instance: "a", Cgroup: first})
	defer m.Close()
	for _, l := range m.links {
		if there, err := isAt(l, first); err != nil || !there {
			t.Errorf("link is not at the cgroup: %v", err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(m.dir, "*"+newPin)); err != nil || len(left) != 0 {
		t.Errorf("left %v %v", left, err)
	}
}

func TestLostPinIsMadeAnewAndUsed(t *testing.T) {
	bpffs, cgroup := mounts(t)
	o := Options{BPFFS: bpffs, Instance: "a", Cgroup: cgroup}
	m := load(t, o)
	if err := errors.Join(os.Remove(filepath.Join(m.dir, "pods")), m.Close()); err != nil {
		t.Fatal(err)
	}
	m = load(t, o)
	defer m.Close()
	for i, l := range m.links {
		info, err := l.Info()
		if err != nil {
			t.Fatal(err)
		}
		prog, err := ebpf.NewProgramFromID(info.Program)
		if err != nil {
			t.Fatal(err)
		}
		have, err := prog.Info()
		if err := errors.Join(err, prog.Close()); err != nil {
			t.Fatal(err)
		}
		if want, err := m.hooks()[i].prog.Info(); err != nil || have.Tag != want.Tag || !sameMaps(have, want) {
			t.Errorf("link %d runs another program, or one with other maps: %v", i, err)
		}
	}
}
