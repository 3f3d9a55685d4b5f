package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups resolves processes to directories of the cgroup2 hierarchy.
type cgroups struct {
	mount     string // where the hierarchy is mounted
	mountRoot string // which of its cgroups is visible there, mostly "/"
	root      string // the directory whose processes are hooked: mount or below
}

// findCgroups finds the mount that holds root, or the first one if root is "".
func findCgroups(root string) (cgroups, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return cgroups{}, fmt.Errorf("read mounts: %w", err)
	}
	return parseMounts(string(b), root)
}

func parseMounts(mountinfo, root string) (cgroups, error) {
	var best cgroups
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if !ok || len(f) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		at := unescape(f[4])
		// Of two mounts at one place the later one is seen.
		if root == "" && (best.mount == "" || at == best.mount) || root != "" && within(root, at) && len(at) >= len(best.mount) {
			best = cgroups{mount: at, mountRoot: unescape(f[3]), root: root}
		}
	}
	if best.mount == "" {
		return cgroups{}, fmt.Errorf("no cgroup2 mount for %q: mount the host's cgroup2 hierarchy", root)
	}
	if best.root == "" {
		best.root = best.mount
	}
	return best, nil
}

// unescape undoes what the kernel does to blanks in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// below resolves a directory that must be a cgroup below the root: the root's own id would stand for everything.
func (c cgroups) below(dir string) (string, uint64, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", 0, fmt.Errorf("resolve cgroup: %w", err)
	}
	root, err := filepath.EvalSymlinks(c.root)
	if err != nil {
		return "", 0, fmt.Errorf("resolve cgroup: %w", err)
	}
	if dir == root || !within(dir, root) {
		return "", 0, fmt.Errorf("cgroup %s is not one below %s", dir, root)
	}
	id, err := cgroupID(dir)
	return dir, id, err
}

// within says whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// of finds a process's cgroup.
func (c cgroups) of(pid int) (dir string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", fmt.Errorf("read cgroup of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(b)) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		if above(path) || above(c.mountRoot) {
			return c.search(pid)
		}
		if !within(path, c.mountRoot) {
			return "", fmt.Errorf("process %d is in cgroup %s, outside of what %s shows", pid, path, c.mount)
		}
		rel, err := filepath.Rel(c.mountRoot, path)
		if err != nil {
			return "", fmt.Errorf("cgroup %s of process %d: %w", path, pid, err)
		}
		return filepath.Join(c.mount, rel), nil
	}
	return "", fmt.Errorf("process %d is in no cgroup2", pid)
}

// above says whether a path lies outside of this process's cgroup namespace: then the kernel writes as
// many /.. as there are levels up to a common ancestor, and their names cannot be known.
func above(path string) bool { return path == "/.." || strings.HasPrefix(path, "/../") }

// search looks for a process in every cgroup.
func (c cgroups) search(pid int) (dir string, err error) {
	want := strconv.Itoa(pid)
	err = filepath.WalkDir(c.mount, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // cgroups come and go during the walk
		}
		b, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err == nil && slices.Contains(strings.Fields(string(b)), want) {
			dir = path
			return fs.SkipAll
		}
		return nil
	})
	if err == nil && dir == "" {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", fmt.Errorf("find process %d below %s: %w", pid, c.mount, err)
	}
	return dir, nil
}

// cgroupID is the id that BPF programs see: the inode of the directory.
func cgroupID(dir string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("stat cgroup %s: %w", dir, err)
	}
	return st.Ino, nil
}

// empty says whether no process is left in a cgroup. A missing one is empty.
func empty(dir string) (bool, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read processes of %s: %w", dir, err)
	}
	return len(strings.TrimSpace(string(b))) == 0, nil
}

// find walks the hierarchy for a cgroup id.
func (c cgroups) find(id uint64) (dir string, ok bool) {
	err := filepath.WalkDir(c.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // cgroups come and go during the walk
		}
		if got, err := cgroupID(path); err == nil && got == id {
			dir, ok = path, true
			return fs.SkipAll
		}
		return nil
	})
	return dir, ok && err == nil
}

// listenerPID finds the process that listens on a TCP port of the node's namespace.
func listenerPID(port uint16) (int, error) {
	inodes := map[string]bool{}
	for _, f := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // no IPv6
		}
		listeningInodes(string(b), port, inodes)
	}
	if len(inodes) == 0 {
		return 0, fmt.Errorf("nothing listens on port %d", port)
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, fmt.Errorf("list descriptors: %w", err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && inodes[to] {
			return strconv.Atoi(strings.Split(fd, "/")[2])
		}
	}
	return 0, fmt.Errorf("the owner of port %d cannot be seen (is the agent in the host's pid namespace?)", port)
}

// listeningInodes collects "socket:[inode]" of listeners from a /proc/net/tcp table.
func listeningInodes(table string, port uint16, into map[string]bool) {
	const listen = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) > 9 && f[3] == listen && strings.HasSuffix(f[1], suffix) {
			into["socket:["+f[9]+"]"] = true
		}
	}
}
