package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unfinished separates instance and process id in the name of a directory being made. (bpffs
// refuses names with dots.)
const unfinished = "--making-"

const podPin = "pod_" // + netns cookie

// lock takes an flock on a directory. The file must stay open.
func lock(dir string, wait bool) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	err = unix.Flock(int(f.Fd()), how)
	for err == unix.EINTR {
		err = unix.Flock(int(f.Fd()), how)
	}
	if err == nil {
		return f, nil
	}
	if err == unix.EWOULDBLOCK {
		err = ErrLocked
	}
	return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
}

// sweepUnfinished removes what a process left that died while it made the instance's directory.
func sweepUnfinished(dir string) error {
	left, err := filepath.Glob(dir + unfinished + "*")
	if err != nil {
		return fmt.Errorf("look for unfinished pins of %s: %w", dir, err)
	}
	for _, d := range left {
		if err := os.RemoveAll(d); err != nil {
			return fmt.Errorf("remove unfinished pins %s: %w", d, err)
		}
	}
	return nil
}

// Remove unpins everything of this instance: programs detach, maps go. Call Close afterwards.
func (m *Mesh) Remove() error {
	if err := os.RemoveAll(m.dir); err != nil {
		return fmt.Errorf("remove pins %s: %w", m.dir, err)
	}
	if err := os.Remove(filepath.Dir(m.dir)); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove pin directory: %w", err)
	}
	return nil
}

// Discard removes an instance's pins without understanding them: for pins of another layout.
// It refuses with ErrLocked while an agent runs with that instance.
func Discard(bpffs, instance string) error {
	if err := checkInstance(instance); err != nil {
		return err
	}
	m := &Mesh{dir: filepath.Join(bpffs, "ambit", instance)}
	l, err := lock(m.dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Close()
	return m.Remove()
}

// Instances lists the instances that have pins below bpffs.
func Instances(bpffs string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(bpffs, "ambit"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && !strings.Contains(e.Name(), unfinished) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

func (m *Mesh) podPin(cookie uint64) string {
	return filepath.Join(m.dir, podPin+strconv.FormatUint(cookie, 10))
}
