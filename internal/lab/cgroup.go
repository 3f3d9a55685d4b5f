package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupPrefix = "ambit-lab-"

// cgroupMount finds the cgroup2 hierarchy: the whole of /sys/fs/cgroup or a part of it.
func cgroupMount() (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("read mounts: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if ok && len(f) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return f[4], nil
		}
	}
	return "", errors.New("no cgroup2 hierarchy is mounted")
}

func makeCgroup(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	return nil
}

// cgroups lists dir and what is below it, the deepest first.
func cgroups(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	slices.Reverse(out)
	if err != nil {
		return nil, fmt.Errorf("list cgroups: %w", err)
	}
	return out, nil
}

// pidsIn lists the processes of a cgroup and of those below it.
func pidsIn(dir string) ([]int, error) {
	all, err := cgroups(dir)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, d := range all {
		b, err := os.ReadFile(filepath.Join(d, "cgroup.procs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return nil, fmt.Errorf("list processes: %w", err)
		}
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// killCgroup ends every process below dir and waits until they are gone. Processes of other parents
// may stay as zombies, which count no more.
func killCgroup(dir string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		pids, err := pidsIn(dir)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of cgroup %s do not end", pids, dir)
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
	}
}

// removeCgroup kills and removes a subtree. One that is not there is removed.
func removeCgroup(dir string) error {
	if err := killCgroup(dir); err != nil {
		return err
	}
	all, err := cgroups(dir)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := rmdirPatiently(d); err != nil {
			return err
		}
	}
	return nil
}

// rmdirPatiently waits for a zombie to be reaped: until then the cgroup may be busy.
func rmdirPatiently(dir string) error {
	var err error
	for range 200 {
		err = unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("remove cgroup %s: %w", dir, err)
}
