package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cgroup2Magic = 0x63677270

// hierarchy is one mounted cgroup hierarchy; data are its mount options of version 1.
type hierarchy struct{ dir, kind, data string }

// hierarchies finds what the host has: cgroup2 alone, or version 1 with cgroup2 beside it.
func hierarchies() ([]hierarchy, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(cgroupRoot, &st); err != nil {
		return nil, fmt.Errorf("look at cgroups: %w", err)
	}
	if st.Type == cgroup2Magic {
		return []hierarchy{{cgroupRoot, "cgroup2", ""}}, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	var all []hierarchy
	for _, e := range entries {
		h := hierarchy{filepath.Join(cgroupRoot, e.Name()), "cgroup", e.Name()}
		switch {
		case !e.IsDir():
			continue
		case e.Name() == "unified":
			h.kind, h.data = "cgroup2", ""
		case e.Name() == "systemd":
			h.data = "none,name=systemd"
		}
		all = append(all, h)
	}
	return all, nil
}

// joinCgroups puts this process into the same place of every hierarchy.
func joinCgroups(place string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := filepath.Join(h.dir, place)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if h.data == "cpuset" {
			if err := inheritCPUs(h.dir, place); err != nil {
				return err
			}
		}
		if h.kind == "cgroup2" && h.dir == cgroupRoot {
			delegate(h.dir, filepath.Dir(place))
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return fmt.Errorf("join cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// inheritCPUs fills what version 1 leaves empty in a new cpuset: nothing can join one that is empty.
func inheritCPUs(root, place string) error {
	dir := root
	for part := range strings.SplitSeq(place, "/") {
		parent := dir
		dir = filepath.Join(dir, part)
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			have, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				return fmt.Errorf("read cpuset: %w", err)
			}
			if len(bytes.TrimSpace(have)) > 0 {
				continue
			}
			b, err := os.ReadFile(filepath.Join(parent, f))
			if err != nil {
				return fmt.Errorf("read cpuset: %w", err)
			}
			if err := os.WriteFile(filepath.Join(dir, f), b, 0o644); err != nil {
				return fmt.Errorf("fill cpuset: %w", err)
			}
		}
	}
	return nil
}

// delegate turns the controllers on, from the root of version 2 to below place. What a host does not
// give is missing in the cluster as well.
func delegate(root, place string) {
	dirs := []string{root}
	for part := range strings.SplitSeq(place, "/") {
		dirs = append(dirs, filepath.Join(dirs[len(dirs)-1], part))
	}
	for _, d := range dirs {
		enableControllers(d)
	}
}

func enableControllers(dir string) {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	for c := range strings.FieldsSeq(string(b)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
}

// mountCgroups mounts the hierarchies again in the machine's cgroup namespace, so that its place is their
// root.
func mountCgroups(all []hierarchy) error {
	if len(all) == 1 && all[0].kind == "cgroup2" {
		if err := mount("cgroup2", cgroupRoot, "cgroup2", 0, ""); err != nil {
			return err
		}
		// Version 2: a cgroup with controllers for its children has no processes of its own.
		if err := moveTo("machine", os.Getpid()); err != nil {
			return err
		}
		enableControllers(cgroupRoot)
		return nil
	}
	if err := mount("tmpfs", cgroupRoot, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, h := range all {
		if err := os.Mkdir(h.dir, 0o755); err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
		if err := mount(h.kind, h.dir, h.kind, 0, h.data); err != nil {
			return err
		}
	}
	return nil
}

// moveTo puts a process into a cgroup2 of its own below the machine's root, as an init system does with
// its units: the kubelet is not to share one with pods.
func moveTo(name string, pid int) error {
	root := filepath.Join(cgroupRoot, "unified")
	if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
		root = cgroupRoot
	}
	dir := filepath.Join(root, "system", name)
	if name == "machine" {
		dir = filepath.Join(root, name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// RemoveCgroups removes a place and all below it from every hierarchy, once nothing runs there any more.
func RemoveCgroups(place string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var left error
		for _, h := range all {
			left = errors.Join(left, removeTree(filepath.Join(h.dir, place)))
		}
		if left == nil || time.Now().After(end) {
			return left
		}
	}
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list cgroup: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	if rm := syscall.Rmdir(dir); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("remove cgroup %s: %w", dir, rm))
	}
	return err
}
