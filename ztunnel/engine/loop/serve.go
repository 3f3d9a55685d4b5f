package loop

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

var errNotListening = errors.New("not a listening TCP socket")

// Serve begins to accept on l.
func (e *Engine) Serve(l engine.Listener) error {
	if err := e.serve(l); err != nil {
		return fmt.Errorf("serve %s of pod %s: %w", l.Kind, l.Pod.UID, err)
	}
	return nil
}

func (e *Engine) serve(l engine.Listener) error {
	ln, err := e.newListener(l)
	if err != nil {
		if l.FD >= 0 {
			_ = unix.Close(l.FD)
		}
		return err
	}
	err = net.ErrClosed
	ln.p.w.await(func() { err = ln.open() })
	return err
}

// newListener makes what closes l.FD from then on, unless it fails.
func (e *Engine) newListener(l engine.Listener) (*listener, error) {
	if err := checkListener(l.FD); err != nil {
		return nil, err
	}
	if err := setUpLeg(l.FD); err != nil {
		return nil, err
	}
	if l.Kind != engine.Inbound { // what comes in as plaintext may be from anywhere
		if err := netsock.Unpace(l.FD); err != nil {
			e.opts.Log.Debug("connections stay paced", "pod", l.Pod.UID, "listener", l.Kind.String(), "error", err)
		}
	}
	if err := unix.SetNonblock(l.FD, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	p, err := e.enrolled(l.Pod)
	if err != nil {
		return nil, err
	}
	ln := &listener{e: e, p: p, kind: l.Kind, fd: l.FD}
	if !p.addListener(ln) {
		return nil, net.ErrClosed
	}
	return ln, nil
}

// checkListener refuses what accept would not work on.
func checkListener(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if kind != unix.SOCK_STREAM || listens == 0 {
		return errNotListening
	}
	return nil
}
