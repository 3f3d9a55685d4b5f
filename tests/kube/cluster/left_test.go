package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestLeft: what a cluster could leave is found, each kind of it, and nothing where nothing is.
func TestLeft(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("namespaces, mounts and cgroups need root")
	}
	c := &Cluster{before: lookAtHost()}
	if err := c.claim(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = remove(c.Dir), c.lock.Close() })
	cmd := exec.Command("sleep", "100")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { _, _ = cmd.Process.Kill(), cmd.Wait() }
	t.Cleanup(end)
	pids := "/sys/fs/cgroup"
	if _, err := os.Stat(pids + "/cgroup.procs"); err != nil {
		pids = "/sys/fs/cgroup/pids"
	}
	place := filepath.Join(pids, c.Name, "node")
	for _, err := range []error{os.MkdirAll(place, 0o755), os.WriteFile(filepath.Join(place, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	seen, err := c.traces()
	if err != nil || len(seen.namespaces) != 1 {
		t.Fatalf("traces of a process in its own network: %v, %v", seen, err)
	}
	pin := filepath.Join(c.Dir, "net")
	if err := os.WriteFile(pin, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("/proc/"+strconv.Itoa(cmd.Process.Pid)+"/ns/net", pin, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(pin, syscall.MNT_DETACH) })

	finds(t, c.left(seen), "process "+strconv.Itoa(cmd.Process.Pid)+": sleep", "mount: ", "cgroups: ["+filepath.Dir(place), "directory "+c.Dir)
	end()
	finds(t, c.left(seen), "mount: ", "cgroups: ["+filepath.Dir(place), "directory "+c.Dir)
	if err := syscall.Unmount(pin, 0); err != nil {
		t.Fatal(err)
	}
	if err := remove(c.Dir); err != nil {
		t.Fatal(err)
	}
	finds(t, c.nothingLeft(seen))
}

func finds(t *testing.T, err error, want ...string) {
	t.Helper()
	var got []string
	if err != nil {
		got = strings.Split(err.Error(), "\n")
	}
	if len(got) != len(want) {
		t.Fatalf("left: %q, not %d: %q", got, len(want), want)
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "left behind: "+w) }) {
			t.Errorf("left: %q, no %q", got, w)
		}
	}
}
