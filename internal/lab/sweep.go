package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Sweep removes labs whose owner is gone.
func Sweep() error {
	root, err := lockRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	return sweep()
}

func sweep() error {
	entries, err := os.ReadDir(Root)
	if err != nil {
		return fmt.Errorf("list labs: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		f, err := lock(filepath.Join(Root, e.Name(), "lock"), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue // its owner lives
		}
		if err != nil {
			return err
		}
		if err := errors.Join(remove(e.Name()), f.Close()); err != nil {
			return fmt.Errorf("sweep lab %s: %w", e.Name(), err)
		}
	}
	return nil
}

// remove takes a lab down from what is on disk alone, so that it also works after the owner's death.
// It goes on after errors.
func remove(name string) error {
	var errs []error
	if mount, err := cgroupMount(); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, removeCgroup(filepath.Join(mount, cgroupPrefix+name)))
	}
	mounts, err := mountsBelow(filepath.Join(Root, name))
	errs = append(errs, err)
	for _, m := range mounts {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err // the directory stays, so that the next sweep tries again
	}
	if err := os.RemoveAll(filepath.Join(Root, name)); err != nil {
		return fmt.Errorf("remove lab's directory: %w", err)
	}
	return nil
}

// mountsBelow lists mount points inside dir, the newest first.
func mountsBelow(dir string) ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			out = append([]string{f[4]}, out...)
		}
	}
	return out, nil
}

// Leftovers lists what is still there of a lab: nothing, after Close.
func Leftovers(name string) []string {
	var out []string
	dir := filepath.Join(Root, name)
	if _, err := os.Stat(dir); err == nil {
		out = append(out, "directory "+dir)
	}
	mounts, err := mountsBelow(dir)
	if err != nil {
		out = append(out, err.Error())
	}
	for _, m := range mounts {
		out = append(out, "mount "+m)
	}
	mount, err := cgroupMount()
	if err != nil {
		return append(out, err.Error())
	}
	cg := filepath.Join(mount, cgroupPrefix+name)
	if _, err := os.Stat(cg); err == nil {
		out = append(out, "cgroup "+cg)
	}
	pids, err := pidsIn(cg)
	if err != nil {
		out = append(out, err.Error())
	}
	for _, pid := range pids {
		out = append(out, fmt.Sprintf("process %d", pid))
	}
	return out
}
