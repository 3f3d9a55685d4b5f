// Package sandbox finds the network namespaces of a node's pods through their processes: kubelet names
// each pod's cgroup after its uid.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/ambitmesh/ambit/agent/netns"
)

// Finder looks at the processes below one /proc, which must be the node's own: the agent needs the
// host's pid namespace.
type Finder struct {
	proc string
	host uint64 // inode of the node's own network namespace

	mu    sync.Mutex
	found map[string]process // by uid
}

// process is the oldest one of a pod: mostly the sandbox's own, which lives as long as the namespace.
type process struct {
	pid   int
	start uint64 // in clock ticks after boot; tells it from a later one of the same pid
	inode uint64
}

// New returns a finder over proc ("" is /proc). host is the inode of the namespace that no pod has.
func New(proc string, host uint64) *Finder {
	if proc == "" {
		proc = "/proc"
	}
	return &Finder{proc: proc, host: host, found: map[string]process{}}
}

// Place is where a pod's network namespace is.
type Place struct {
	Path  string // of the namespace's file; it is good while the process lives
	Inode uint64
}

// Find returns the places of those of the pods that have one. uids are as kubelet writes them, of
// static pods their configuration's hash. Without news it reads one small file for each pod.
func (f *Finder) Find(uids []string) (map[string]Place, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	unknown := map[string]bool{}
	wanted := map[string]bool{}
	for _, uid := range uids {
		wanted[uid] = true
		if p, ok := f.found[uid]; !ok || !f.lives(p, uid) {
			delete(f.found, uid)
			unknown[uid] = true
		}
	}
	var err error
	if len(unknown) > 0 {
		err = f.scan(unknown)
	}
	places := make(map[string]Place, len(uids))
	for uid, p := range f.found {
		if !wanted[uid] {
			delete(f.found, uid)
			continue
		}
		places[uid] = Place{Path: f.path(p.pid, "ns/net"), Inode: p.inode}
	}
	return places, err
}

func (f *Finder) path(pid int, file string) string {
	return filepath.Join(f.proc, strconv.Itoa(pid), file)
}

// lives says whether the process is still the same one of the pod.
func (f *Finder) lives(p process, uid string) bool {
	start, err := f.started(p.pid)
	return err == nil && start == p.start && f.podOf(p.pid) == uid
}

// scan looks at every process once.
func (f *Finder) scan(wanted map[string]bool) error {
	entries, err := os.ReadDir(f.proc)
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // not a process
		}
		uid := f.podOf(pid)
		if !wanted[uid] {
			continue
		}
		p, err := f.look(pid)
		if err != nil || p.inode == f.host {
			continue // it ended, or runs in the node's namespace
		}
		if have, ok := f.found[uid]; !ok || p.start < have.start {
			f.found[uid] = p
		}
	}
	return nil
}

func (f *Finder) look(pid int) (p process, err error) {
	p.pid = pid
	if p.start, err = f.started(pid); err != nil {
		return p, err
	}
	p.inode, err = netns.InodeAt(f.path(pid, "ns/net"))
	return p, err
}

// Started is when a process started, in clock ticks after boot.
func Started(pid int) (uint64, error) { return New("", 0).started(pid) }

var errStat = errors.New("not a stat line")

// started reads field 22 of a stat line, in which the second field, the name, may hold anything.
func (f *Finder) started(pid int) (uint64, error) {
	b, err := os.ReadFile(f.path(pid, "stat"))
	if err != nil {
		return 0, fmt.Errorf("read start of process: %w", err)
	}
	return parseStart(string(b))
}

func parseStart(stat string) (uint64, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, errStat
	}
	const startAfterName = 19
	fields := strings.Fields(stat[end+1:])
	if len(fields) <= startAfterName {
		return 0, errStat
	}
	n, err := strconv.ParseUint(fields[startAfterName], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("start time: %w", err)
	}
	return n, nil
}

// podOf is the uid in a process's cgroup, or "".
func (f *Finder) podOf(pid int) string {
	b, err := os.ReadFile(f.path(pid, "cgroup"))
	if err != nil {
		return ""
	}
	return parseCgroup(string(b))
}

// podDir matches kubelet's two spellings: pod<uid> (cgroupfs), and kubepods-<class>-pod<uid>.slice
// (systemd), where dashes are underscores. The uid of a static pod is a hash without dashes.
var podDir = regexp.MustCompile(`/(?:kubepods[a-z-]*-)?pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:/|$)`)

// parseCgroup reads /proc/<pid>/cgroup. All its lines (of cgroup v1) that name a pod name the same one.
func parseCgroup(text string) string {
	for line := range strings.Lines(text) {
		_, path, ok := strings.Cut(strings.TrimSpace(line), ":/")
		if !ok {
			continue
		}
		if m := podDir.FindStringSubmatch("/" + path); m != nil {
			return strings.ReplaceAll(m[1], "_", "-")
		}
	}
	return ""
}
