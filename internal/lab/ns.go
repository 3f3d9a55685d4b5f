package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netNS is a network namespace kept alive by a mount of its file.
type netNS struct {
	path string
	f    *os.File
	h    *netlink.Handle
}

// newNetNS makes a namespace and mounts it at path.
func newNetNS(path string) (*netNS, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make directory of namespaces: %w", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	err := onOwnThread(func() error { return unshareAt(path) })
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	n := &netNS{path: path}
	if n.f, err = os.Open(path); err == nil {
		n.h, err = netlink.NewHandleAt(netns.NsHandle(n.f.Fd()), unix.NETLINK_ROUTE)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open namespace %s: %w", path, err), n.close())
	}
	return n, nil
}

// onOwnThread runs f on a thread that dies afterwards, because f moves it.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- f()
	}()
	return <-done
}

func unshareAt(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	for _, key := range []string{"ipv6/conf/all/accept_dad", "ipv6/conf/default/accept_dad"} {
		if err := setSysctl(key, "0"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	if err := unix.Mount(self, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount namespace at %s: %w", path, err)
	}
	return nil
}

// setSysctl writes below /proc/sys/net, which shows the calling thread's namespace.
func setSysctl(key, value string) error {
	if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s: %w", key, err)
	}
	return nil
}

// do runs f on a thread inside the namespace. f must not start goroutines that need it.
func (n *netNS) do(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(n.f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter %s: %w", n.path, err)
		}
		return f()
	})
}

func (n *netNS) sysctls(values map[string]string) error {
	return n.do(func() error {
		for k, v := range values {
			if err := setSysctl(k, v); err != nil {
				return err
			}
		}
		return nil
	})
}

// dial connects from inside the namespace, to an address: names are not resolved there.
func (n *netNS) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var c net.Conn
	err := n.do(func() error {
		var err error
		c, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

func (n *netNS) close() error {
	if n.h != nil {
		n.h.Close()
	}
	var errs []error
	if n.f != nil {
		errs = append(errs, n.f.Close())
	}
	return errors.Join(append(errs, unmountFile(n.path))...)
}

func unmountFile(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove mount point: %w", err)
	}
	return nil
}
