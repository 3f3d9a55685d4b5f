package netsock

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// FamilyOf returns the socket family of an unmapped address.
func FamilyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// Sockaddr is for system calls.
func Sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// SetMark marks what the socket sends.
func SetMark(fd int, mark uint32) error {
	if mark == 0 {
		return nil
	}
	if err := SetInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
		return fmt.Errorf("mark socket %#x: %w", mark, err)
	}
	return nil
}

// BindForeign gives the socket an address that is not its host's.
func BindForeign(fd int, a netip.AddrPort) error {
	level, opt := unix.SOL_IP, unix.IP_TRANSPARENT
	if a.Addr().Is6() {
		level, opt = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	if err := SetInt(fd, level, opt, 1); err != nil {
		return fmt.Errorf("make socket transparent: %w", err)
	}
	if err := SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("let socket share its address: %w", err)
	}
	if e := rawBind(fd, a); e != 0 {
		return fmt.Errorf("bind to %s: %w", a, e)
	}
	return nil
}

// LocalAddr is what the socket is bound to.
func LocalAddr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("ask for socket's address: %w", err)
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("ask for socket's address: %w", os.ErrInvalid)
}

// StartConnect returns nil if the connect has begun, or is done already.
func StartConnect(fd int, to netip.AddrPort) error {
	switch e := rawConnect(fd, to); e {
	case 0, unix.EINPROGRESS, unix.EINTR:
		return nil
	default:
		return fmt.Errorf("connect to %s: %w", to, e)
	}
}

// FinishConnect waits for a connect that has begun. It takes over fd.
func FinishConnect(ctx context.Context, fd int, to netip.AddrPort) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "tcp") // non-blocking: known to the netpoller
	defer f.Close()
	if err := WaitConnect(ctx, f); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("take over socket to %s: %w", to, err)
	}
	tc, ok := c.(*net.TCPConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("take over socket to %s: %w", to, os.ErrInvalid)
	}
	return tc, nil
}

// WaitConnect waits for a connect that has begun on a file that the runtime polls.
func WaitConnect(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var result error
	err = raw.Write(func(fd uintptr) bool {
		var done bool
		done, result = Connected(int(fd))
		return done
	})
	switch {
	case err == nil:
		return result
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// Connected reports whether the connect has ended, and how.
func Connected(fd int) (bool, error) {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, os.NewSyscallError("getsockopt", err)
	}
	if code != 0 {
		return true, unix.Errno(code)
	}
	_, err = unix.Getpeername(fd)
	return err == nil, nil
}

// AddrPort unmaps, and drops zones: an address inside a pod needs none.
func AddrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return Unmap(t.AddrPort())
}

// Unmap drops what IPv6 may put around an address.
func Unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
