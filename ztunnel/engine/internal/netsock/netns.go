package netsock

import (
	"fmt"
	"os"
	"runtime"
)

// OpenHome opens the namespace of the process: threads are at home whenever they are not locked.
func OpenHome() (*os.File, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open own network namespace: %w", err)
	}
	return f, nil
}

// New makes a non-blocking TCP socket.
func New(family int) (int, error) {
	fd, err := rawSocket(family)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	return fd, nil
}

// NewIn is New in another namespace; nil is the process's own, and home gives that one out. A socket
// belongs to the namespace it was made in, so the thread is back home before anything is done with it.
func NewIn(ns *os.File, home func() (*os.File, error), family int) (fd int, err error) {
	fd = -1
	err = Inside(ns, home, func() error {
		var err error
		fd, err = New(family)
		return err
	})
	if err != nil && fd >= 0 {
		Close(fd)
		fd = -1
	}
	return fd, err
}

// Inside runs f on a thread that is in the namespace, and comes home. ErrAstray says that it could not:
// then the caller's goroutine is to end, and its thread with it.
func Inside(ns *os.File, home func() (*os.File, error), f func() error) error {
	if ns == nil {
		return f()
	}
	back, err := home()
	if err != nil {
		return err
	}
	raw, err := ns.SyscallConn() // holds the descriptor against a concurrent Close
	if err != nil {
		return fmt.Errorf("use pod's network namespace: %w", err)
	}
	if cerr := raw.Control(func(ns uintptr) { err = visit(int(ns), back, f) }); cerr != nil {
		return fmt.Errorf("use pod's network namespace: %w", cerr)
	}
	return err
}

// visit leaves the thread locked if it cannot go home, so that it dies with its goroutine.
func visit(ns int, home *os.File, f func() error) error {
	back, err := home.SyscallConn()
	if err != nil {
		return fmt.Errorf("use own network namespace: %w", err)
	}
	runtime.LockOSThread()
	if e := rawSetns(ns); e != 0 {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter pod's network namespace: %w", e)
	}
	err = f()
	var herr error
	if cerr := back.Control(func(h uintptr) { herr = failed("setns", rawSetns(int(h))) }); cerr != nil {
		herr = cerr
	}
	if herr != nil {
		return fmt.Errorf("%w: %w", ErrAstray, herr)
	}
	runtime.UnlockOSThread()
	return err
}
