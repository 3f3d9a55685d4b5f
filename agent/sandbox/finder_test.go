package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	uid    = "0a1b2c3d-1111-2222-3333-0123456789ab"
	other  = "ffffffff-1111-2222-3333-0123456789ab"
	static = "0123456789abcdef0123456789abcdef"
)

func TestParseCgroup(t *testing.T) {
	for text, want := range map[string]string{
		"0::/kubepods/besteffort/pod" + uid + "/0123abcd\n": uid,
		"0::/kubepods/pod" + uid + "\n":                     uid,
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_1111_2222_3333_0123456789ab.slice/cri-x.scope": uid,
		"0::/kubepods.slice/kubepods-pod0a1b2c3d_1111_2222_3333_0123456789ab.slice/cri-x.scope":                                    uid,
		"12:cpu:/kubepods/pod" + uid + "/x\n0::/\n":                                                                                uid,
		"5:name=systemd:/lab/node/kubepods/besteffort/pod" + uid + "/x\n":                                                          uid,
		"0::/kubepods/burstable/pod" + static + "/x":                                                                               static,
		"0::/system.slice/kubelet.service\n":                                                                                       "",
		"0::/user.slice/notpod" + uid + "\n":                                                                                       "",
		"0::/kubepods/podx" + uid + "\n":                                                                                           "",
		"":                                                                                                                         "",
		"::":                                                                                                                       "",
	} {
		if got := parseCgroup(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("0::/kubepods/besteffort/pod" + uid + "/0123abcd\n")
	f.Add("7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0")
	f.Fuzz(func(t *testing.T, text string) {
		if got := parseCgroup(text); got != "" && len(got) != 36 && len(got) != 32 {
			t.Errorf("uid %q", got)
		}
		if _, err := parseStart(text); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}

// world is a /proc of our own making. Namespace files are ordinary files: only their inodes count.
type world struct {
	*testing.T
	dir string
}

func (w world) process(pid int, cgroup string, start int, ns string) {
	w.Helper()
	dir := filepath.Join(w.dir, strconv.Itoa(pid))
	for name, text := range map[string]string{
		"cgroup": "0::" + cgroup + "\n",
		"stat":   fmt.Sprintf("%d (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", pid, start),
	} {
		if err := os.MkdirAll(filepath.Join(dir, "ns"), 0o755); err != nil {
			w.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			w.Fatal(err)
		}
	}
	os.Remove(filepath.Join(dir, "ns", "net"))
	if err := os.Symlink(filepath.Join(w.dir, ns), filepath.Join(dir, "ns", "net")); err != nil {
		w.Fatal(err)
	}
}

func (w world) namespace(name string) uint64 {
	w.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		w.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		w.Fatal(err)
	}
	return st.Ino
}

func TestFind(t *testing.T) {
	w := world{t, t.TempDir()}
	host, a, b := w.namespace("host"), w.namespace("a"), w.namespace("b")
	f := New(w.dir, host)
	find := func() map[string]Place {
		t.Helper()
		got, err := f.Find([]string{uid, static})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := find(); len(got) != 0 {
		t.Fatalf("nothing is there: %v", got)
	}
	pods := "/kubepods/besteffort/pod"
	w.process(12, pods+uid+"/app", 300, "b") // an application in a namespace of its own
	w.process(30, pods+uid+"/pause", 200, "a")
	w.process(40, pods+other+"/pause", 100, "b")
	w.process(50, pods+static+"/pause", 100, "host")
	got := find()
	if len(got) != 1 || got[uid].Inode != a || got[uid].Path != filepath.Join(w.dir, "30", "ns", "net") {
		t.Fatalf("want the oldest process, got %v", got)
	}
	w.process(12, pods+uid+"/app", 100, "b") // older, but the one known lives
	if got := find(); got[uid].Inode != a {
		t.Errorf("a known place changed: %v", got)
	}
	w.process(30, pods+other+"/app", 900, "a") // the pid belongs to another pod now
	if got := find(); got[uid].Inode != b {
		t.Errorf("the namespace of another pod: %v", got)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "12")); err != nil {
		t.Fatal(err)
	}
	if got := find(); len(got) != 0 {
		t.Errorf("a pod without processes: %v", got)
	}
}

// TestRealProcess reads a real /proc: formats are the kernel's.
func TestRealProcess(t *testing.T) {
	c := exec.CommandContext(t.Context(), "sleep", "60")
	if err := c.Start(); err != nil {
		t.Skip("no sleep:", err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	f := New("", 0)
	p, err := f.look(c.Process.Pid)
	if err != nil || p.start == 0 || p.inode == 0 {
		t.Errorf("%+v: %v", p, err)
	}
	if f.podOf(c.Process.Pid) != "" {
		t.Skip("the test itself runs in a pod")
	}
}
