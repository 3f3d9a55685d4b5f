// Package netns enters pods' network namespaces and sets up there what redirection needs: a rule, a
// table, three sysctls and the listeners.
package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// NS is an open network namespace. Holding it keeps the namespace alive: close it as soon as the pod
// is gone.
type NS struct {
	f      *os.File
	Cookie uint64 // of the kernel, never used twice
	Inode  uint64 // of nsfs, used again after the namespace's death
}

// Open opens the namespace file at path, for example /run/netns/x or /proc/7/ns/net.
func Open(path string) (*NS, error) {
	f, err := openNamespace(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	ns, err := FromFile(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return ns, nil
}

// OpenIn opens the namespace file at path as a process sees it whose root directory is root, and does not
// enter it. Links lead where they lead for that process: /var/run is mostly one to /run. Anything else than
// a namespace is refused unopened.
func OpenIn(root, path string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root directory %s: %w", root, err)
	}
	defer unix.Close(dir)
	at, err := unix.Openat2(dir, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil { // /proc/<pid>/ns/net is a link that cannot be followed this way
		at, err = unix.Open(filepath.Join(root, path), unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s of %s: %w", path, root, err)
	}
	return fromPath(at, path)
}

const nsfsMagic = 0x6e736673

// openNamespace looks before it opens: the path is the object's author's, and to open a pipe would hang
// and to open a device would do something.
func openNamespace(path string) (*os.File, error) {
	at, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return fromPath(at, path)
}

// fromPath takes over at, which is open as a path only.
func fromPath(at int, path string) (*os.File, error) {
	defer unix.Close(at)
	var st unix.Statfs_t
	if err := unix.Fstatfs(at, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if st.Type != nsfsMagic {
		return nil, fmt.Errorf("%s is not a namespace: %w", path, os.ErrInvalid)
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", at))
}

// FromFile takes over f, which must be a network namespace.
func FromFile(f *os.File) (*NS, error) {
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return nil, fmt.Errorf("not a network namespace (type %#x): %w", kind, os.ErrInvalid)
	}
	ns := &NS{f: f}
	if ns.Inode, err = InodeOf(f); err != nil {
		return nil, err
	}
	err = ns.Do(func() error {
		ns.Cookie, err = currentCookie()
		return err
	})
	if err != nil {
		return nil, err
	}
	return ns, nil
}

// Self opens the namespace of this process.
func Self() (*NS, error) { return Open("/proc/self/ns/net") }

// InodeAt is the inode of the namespace file at path, without opening the namespace.
func InodeAt(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("stat network namespace %s: %w", path, err)
	}
	return st.Ino, nil
}

// InodeOf is the inode of an open namespace file.
func InodeOf(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("stat network namespace: %w", err)
	}
	return st.Ino, nil
}

// currentCookie is that of the calling thread's namespace.
func currentCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket to ask for the namespace's cookie: %w", err)
	}
	defer unix.Close(fd)
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("network namespace cookie (SO_NETNS_COOKIE): %w", err)
	}
	return c, nil
}

// File is the namespace's descriptor; it stays ns's.
func (ns *NS) File() *os.File { return ns.f }

// Close gives the namespace up.
func (ns *NS) Close() error { return ns.f.Close() }

// Do runs f on a thread inside the namespace. f must not start goroutines that need it. It may meet Close: then
// it fails, or holds the descriptor until f is done.
func (ns *NS) Do(f func() error) error {
	raw, err := ns.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	done := make(chan error, 1)
	go func() {
		err := fmt.Errorf("enter network namespace: %w", os.ErrClosed) // all that keeps Control from calling
		_ = raw.Control(func(fd uintptr) {
			runtime.LockOSThread()
			err = inside(int(fd), f)
		})
		done <- err
	}()
	return <-done
}

// inside unlocks the thread only when it is back home; else the thread dies with its goroutine.
func inside(fd int, f func() error) error {
	home, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer unix.Close(home)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	err = f()
	if unix.Setns(home, unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
