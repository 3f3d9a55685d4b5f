package load

import (
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Raw system calls keep the goroutine on its thread: the runtime's hand-over would be measured too.

func read(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), e
}

func write(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), e
}

// poller is an epoll descriptor and its event buffer.
type poller struct {
	fd int
	ev []unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &poller{fd: fd, ev: make([]unix.EpollEvent, 512)}, nil
}

func (p *poller) close() { unix.Close(p.fd) }

func (p *poller) ctl(op, fd int, events uint32) error {
	if err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll ctl on %d: %w", fd, err)
	}
	return nil
}

// wait returns the ready events; none on a timeout (milliseconds; -1: none) or an interruption.
func (p *poller) wait(ms int) []unix.EpollEvent {
	n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.ev[0])), uintptr(len(p.ev)), uintptr(ms), 0, 0)
	if e != 0 {
		return nil
	}
	return p.ev[:n]
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func socket(a netip.AddrPort) (int, error) {
	family := unix.AF_INET6
	if a.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set TCP_NODELAY: %w", err)
	}
	return fd, nil
}

// dial connects, blocking, and returns a non-blocking descriptor.
func dial(a netip.AddrPort) (int, error) {
	fd, err := socket(a)
	if err != nil {
		return -1, err
	}
	err = unix.SetNonblock(fd, false)
	if err == nil {
		err = unix.Connect(fd, sockaddr(a))
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", a, err)
	}
	return fd, nil
}
