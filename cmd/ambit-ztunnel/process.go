package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// harden keeps the keys in this process: no core file, and its memory is closed to other processes
// of its user. (Root with CAP_SYS_PTRACE can still look.)
func harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close the process's memory: %w", err)
	}
	return nil
}

// tune takes as many descriptors as there may be, and makes the collector work harder before the
// cgroup's memory ends.
func tune(log *slog.Logger) error {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("read limit of descriptors: %w", err)
	}
	files.Cur = files.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("raise limit of descriptors: %w", err)
	}
	if n := cgroupMemory("/proc/self/cgroup", "/sys/fs/cgroup"); n > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(n / 10 * 9)
		log.Debug("memory limit", "cgroup_bytes", n)
	}
	return nil
}

// cgroupMemory is the cgroup2 limit that is nearest to this process, in bytes; 0: none is known.
func cgroupMemory(self, root string) int64 {
	b, err := os.ReadFile(self)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for ok && path != "" && path != "/" && path != "." {
			if n := readLimit(filepath.Join(root, path, "memory.max")); n > 0 {
				return n
			}
			path = filepath.Dir(path)
		}
	}
	return readLimit(filepath.Join(root, "memory.max")) // a container sees its own cgroup as the root
}

func readLimit(file string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil { // "max"
		return 0
	}
	return n
}
