package std

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// openHome opens the namespace of the process: threads are at home whenever they are not locked.
func openHome() (*os.File, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open own network namespace: %w", err)
	}
	return f, nil
}

// socket makes a non-blocking TCP socket in the pod's namespace. A socket belongs to the namespace it
// was made in, so the thread is back home before anything is done with it.
func (p *pod) socket(family int) (int, error) {
	if p.NetNS == nil {
		return newSocket(family)
	}
	home, err := p.e.home()
	if err != nil {
		return -1, err
	}
	raw, err := p.NetNS.SyscallConn() // holds the descriptor against a concurrent Close
	if err != nil {
		return -1, fmt.Errorf("use pod's network namespace: %w", err)
	}
	fd := -1
	if cerr := raw.Control(func(ns uintptr) { fd, err = socketIn(int(ns), home, family) }); cerr != nil {
		return -1, fmt.Errorf("use pod's network namespace: %w", cerr)
	}
	return fd, err
}

func newSocket(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	return fd, nil
}

// socketIn leaves the thread locked if it cannot go home, so that it dies with its goroutine.
func socketIn(ns int, home *os.File, family int) (int, error) {
	back, err := home.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("use own network namespace: %w", err)
	}
	runtime.LockOSThread()
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return -1, fmt.Errorf("enter pod's network namespace: %w", err)
	}
	fd, err := newSocket(family)
	var herr error
	if cerr := back.Control(func(h uintptr) { herr = unix.Setns(int(h), unix.CLONE_NEWNET) }); cerr != nil {
		herr = cerr
	}
	if herr != nil {
		if err == nil {
			_ = unix.Close(fd)
		}
		return -1, fmt.Errorf("return to own network namespace: %w", herr)
	}
	runtime.UnlockOSThread()
	return fd, err
}
