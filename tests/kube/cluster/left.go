package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster/bpf"
	"github.com/ambitmesh/ambit/tests/kube/cluster/machine"
)

// host is what the host had before a cluster: links and pins by name.
type host struct{ links, pins []string }

func lookAtHost() host {
	var h host
	all, _ := net.Interfaces()
	for _, l := range all {
		h.links = append(h.links, l.Name)
	}
	pins, _ := os.ReadDir("/sys/fs/bpf")
	for _, p := range pins {
		h.pins = append(h.pins, p.Name())
	}
	return h
}

// traces are what a running cluster has of the kernel that a directory's name does not tell.
type traces struct {
	namespaces map[string]bool // as /proc/<pid>/ns names them
	attached   bpf.Attached    // in its cgroups and network namespaces
}

// traces looks at all processes in the cluster's cgroups.
func (c *Cluster) traces() (traces, error) {
	t := traces{namespaces: map[string]bool{}}
	for _, p := range processes() {
		if strings.Contains(p.cgroups, "/"+c.Name) {
			for _, ns := range p.namespaces {
				t.namespaces[ns] = true
			}
		}
	}
	for _, ns := range namespacesOf("self") { // the host's, which a machine may share
		delete(t.namespaces, ns)
	}
	cgroups, err := machine.Cgroups(c.Name)
	if err != nil {
		return t, err
	}
	t.attached, err = bpf.Find(cgroups, t.namespaces)
	return t, err
}

// nothingLeft waits a moment for what the kernel does later, and then names all that the cluster left.
func (c *Cluster) nothingLeft(t traces) error {
	var err error
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if err = c.left(t); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (c *Cluster) left(t traces) error {
	var all []error
	add := func(format string, args ...any) { all = append(all, fmt.Errorf("left behind: "+format, args...)) }
	mounts := map[string]bool{}
	for _, p := range processes() {
		in := slices.IndexFunc(p.namespaces, func(ns string) bool { return t.namespaces[ns] }) >= 0
		if in || strings.Contains(p.cgroups, "/"+c.Name) || strings.Contains(p.command, c.Dir+"/") {
			add("process %s: %s", p.pid, p.command)
		}
		for line := range strings.Lines(p.mounts) {
			f := strings.Fields(line)
			if len(f) > 4 && (strings.Contains(line, c.Name) || t.namespaces[f[3]]) && !mounts[f[4]] {
				mounts[f[4]] = true
				add("mount: %s", strings.TrimSpace(line))
			}
		}
	}
	if dirs, err := machine.Cgroups(c.Name); err != nil || len(dirs) > 0 {
		add("cgroups: %v %v", dirs, err)
	}
	if _, err := os.Lstat(c.Dir); err == nil {
		add("directory %s", c.Dir)
	}
	for _, what := range t.attached.Left() {
		add("%s", what)
	}
	now, name := lookAtHost(), regexp.MustCompile(`^(fabric|node\d+|default)$`)
	for _, n := range append(now.links, now.pins...) {
		if name.MatchString(n) && !slices.Contains(c.before.links, n) && !slices.Contains(c.before.pins, n) {
			add("link or pin of the host: %s", n)
		}
	}
	return errors.Join(all...)
}

// process is one of the host's; what could not be read, since it ended, is empty.
type process struct {
	pid, command, cgroups string
	mounts                string // of the first process of each mount namespace
	namespaces            []string
}

func processes() (all []process) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	seen := map[string]bool{}
	for _, d := range dirs {
		read := func(name string) string { b, _ := os.ReadFile(filepath.Join(d, name)); return string(b) }
		p := process{pid: filepath.Base(d), cgroups: read("cgroup"), command: strings.ReplaceAll(read("cmdline"), "\x00", " ")}
		p.namespaces = namespacesOf(p.pid)
		if ns, err := os.Readlink(filepath.Join(d, "ns/mnt")); err == nil && !seen[ns] {
			seen[ns], p.mounts = true, read("mountinfo")
		}
		all = append(all, p)
	}
	return all
}

func namespacesOf(pid string) (all []string) {
	for _, kind := range []string{"cgroup", "ipc", "mnt", "net", "pid", "uts"} {
		if ns, err := os.Readlink(filepath.Join("/proc", pid, "ns", kind)); err == nil {
			all = append(all, ns)
		}
	}
	return all
}
