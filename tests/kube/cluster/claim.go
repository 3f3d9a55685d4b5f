package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ambitmesh/ambit/tests/kube/cluster/machine"
)

const (
	stateDir = "/var/tmp"
	prefix   = "ambit-kube-"
)

// claim makes the state directory. A lock in it, held as long as this process lives, says that it is in
// use; the directory has its name only once it is locked.
func (c *Cluster) claim() error {
	dir, err := os.MkdirTemp(stateDir, "."+prefix)
	if err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	if c.lock, err = lock(dir); err != nil {
		return err
	}
	c.Name = strings.TrimPrefix(filepath.Base(dir), ".")
	c.Dir = filepath.Join(stateDir, c.Name)
	if err := os.Rename(dir, c.Dir); err != nil {
		return fmt.Errorf("name state directory: %w", err)
	}
	return nil
}

func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// Sweep removes what clusters left whose process was killed. Their processes ended with it.
func Sweep() error {
	dirs, err := filepath.Glob(filepath.Join(stateDir, prefix+"*"))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		f, busy := lock(d)
		if busy != nil {
			continue
		}
		err = errors.Join(err, remove(d), f.Close())
	}
	return err
}

func remove(dir string) error {
	return errors.Join(machine.RemoveCgroups(filepath.Base(dir)), os.RemoveAll(dir))
}
