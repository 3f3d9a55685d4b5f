package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Root is where labs live, a directory each.
const Root = "/run/ambit-lab"

// Dir is the lab's directory.
func (l *Lab) Dir() string { return filepath.Join(Root, l.opts.Name) }

// ObjectsDir holds the lab's YAML.
func (l *Lab) ObjectsDir() string { return filepath.Join(l.Dir(), "objects") }

// ControllerDir is the controller's state directory.
func (l *Lab) ControllerDir() string { return filepath.Join(l.Dir(), "controller") }

// LogFile is where a process writes, for example "node-a-ztunnel-1".
func (l *Lab) LogFile(process string) string {
	return filepath.Join(l.Dir(), "logs", process+".log")
}

// BPFFS is the lab's own bpf file system: with it go all pins.
func (l *Lab) BPFFS() string { return filepath.Join(l.Dir(), "bpf") }

func (l *Lab) nsPath(name string) string { return filepath.Join(l.Dir(), "netns", name) }

// lockRoot serializes making and sweeping labs.
func lockRoot() (*os.File, error) {
	if err := os.MkdirAll(Root, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of labs: %w", err)
	}
	return lock(filepath.Join(Root, ".lock"), unix.LOCK_EX)
}

// lock is released when the file is closed or its owner dies: children do not inherit it.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// claim sweeps dead labs and makes the directory of a new one, owned by this process.
func (l *Lab) claim() error {
	root, err := lockRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := sweep(); err != nil {
		return err
	}
	if err := os.Mkdir(l.Dir(), 0o700); err != nil {
		return fmt.Errorf("make lab %s: %w", l.opts.Name, err)
	}
	l.owner, err = lock(filepath.Join(l.Dir(), "lock"), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return err
	}
	for _, d := range []string{l.ObjectsDir(), l.ControllerDir(), filepath.Join(l.Dir(), "logs"), l.BPFFS()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("make lab %s: %w", l.opts.Name, err)
		}
	}
	for name, b := range l.opts.ControllerFiles {
		if err := os.WriteFile(filepath.Join(l.ControllerDir(), name), b, 0o600); err != nil {
			return fmt.Errorf("prepare controller: %w", err)
		}
	}
	if err := unix.Mount("bpf", l.BPFFS(), "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs at %s: %w", l.BPFFS(), err)
	}
	return nil
}
