package pods

import (
	"cmp"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/zds"
)

// ErrSockets says that the agent handed over something else than a namespace and its listeners.
var ErrSockets = errors.New("not the pod's sockets")

// nsID is a network namespace; unique while a descriptor of it is open, and one is.
type nsID struct{ dev, ino uint64 }

// checkSockets looks at every descriptor: a socket of another kind or of two namespaces would mix pods.
func checkSockets(s zds.Sockets) (nsID, error) {
	kind, err := unix.IoctlRetInt(s.NetNS, unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return nsID{}, fmt.Errorf("first descriptor is not a network namespace: %w", ErrSockets)
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.NetNS, &st); err != nil {
		return nsID{}, fmt.Errorf("stat network namespace: %w", err)
	}
	var first uint64
	for i, slot := range zds.Slots(s.V6) {
		cookie, err := checkListener(s.Listeners[i], slot)
		if err != nil {
			return nsID{}, fmt.Errorf("listener %d: %w", i, err)
		}
		if first = cmp.Or(first, cookie); cookie != first {
			return nsID{}, fmt.Errorf("listener %d is in another network namespace: %w", i, ErrSockets)
		}
	}
	return nsID{dev: st.Dev, ino: st.Ino}, nil
}

// checkListener returns the cookie of the listener's namespace. It makes the socket non-blocking, which
// the engine relies on.
func checkListener(fd int, slot zds.Slot) (uint64, error) {
	want := map[int]int{unix.SO_ACCEPTCONN: 1, unix.SO_PROTOCOL: unix.IPPROTO_TCP, unix.SO_DOMAIN: unix.AF_INET}
	if slot.V6 {
		want[unix.SO_DOMAIN] = unix.AF_INET6
	}
	for opt, v := range want {
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
		if err != nil {
			return 0, fmt.Errorf("socket option %d: %w: %w", opt, err, ErrSockets)
		}
		if got != v {
			return 0, fmt.Errorf("socket option %d is %d, want %d: %w", opt, got, v, ErrSockets)
		}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return 0, fmt.Errorf("make listener non-blocking: %w", err)
	}
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("network namespace of listener: %w", err)
	}
	return c, nil
}

// sameListeners compares by the kernel's cookies: descriptors differ, sockets do not.
func sameListeners(a, b zds.Sockets) bool {
	for i := range a.Listeners {
		x, errX := unix.GetsockoptUint64(a.Listeners[i], unix.SOL_SOCKET, unix.SO_COOKIE)
		y, errY := unix.GetsockoptUint64(b.Listeners[i], unix.SOL_SOCKET, unix.SO_COOKIE)
		if errX != nil || errY != nil || x != y {
			return false
		}
	}
	return true
}

func dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("duplicate descriptor: %w", err)
	}
	return n, nil
}

func comparePods(a, b *engine.Pod) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
}
