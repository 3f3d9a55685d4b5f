package netsock

import (
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below do not tell Go's scheduler that they are made: none blocks on a non-blocking socket, and
// telling it wakes a thread that then looks after this one for a while, which costs more than the call.

// Close closes a socket.
func Close(fd int) { _, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// Shutdown ends our side of a connection.
func Shutdown(fd int) error {
	_, _, e := syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return failed("shutdown", e)
}

// Send sends b, which is not empty, with flags; 0 bytes and an errno say that it could not. It raises no
// signal.
func Send(fd int, b []byte, flags int) (int, unix.Errno) {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags|unix.MSG_NOSIGNAL), 0, 0)
		switch e {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// SetInt sets an option whose value is a number.
func SetInt(fd, level, opt, value int) error {
	v := int32(value)
	return setOption(fd, level, opt, unsafe.Pointer(&v), unsafe.Sizeof(v))
}

// SetReset has the socket end by a reset when it is closed, or in order.
func SetReset(fd int, reset bool) error {
	l := unix.Linger{}
	if reset {
		l.Onoff = 1
	}
	return setOption(fd, unix.SOL_SOCKET, unix.SO_LINGER, unsafe.Pointer(&l), unsafe.Sizeof(l))
}

func setOption(fd, level, opt int, value unsafe.Pointer, size uintptr) error {
	_, _, e := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt), uintptr(value), size, 0)
	runtime.KeepAlive(value)
	return failed("setsockopt", e)
}

func rawSocket(family int) (int, error) {
	const kind = unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	fd, _, e := syscall.RawSyscall(unix.SYS_SOCKET, uintptr(family), kind, unix.IPPROTO_TCP)
	if e != 0 {
		return -1, os.NewSyscallError("socket", e)
	}
	return int(fd), nil
}

func rawBind(fd int, a netip.AddrPort) unix.Errno { return withAddress(unix.SYS_BIND, fd, a) }

func rawConnect(fd int, a netip.AddrPort) unix.Errno { return withAddress(unix.SYS_CONNECT, fd, a) }

func withAddress(call uintptr, fd int, a netip.AddrPort) unix.Errno {
	var sa unix.RawSockaddrInet6
	size := unsafe.Sizeof(sa)
	if a.Addr().Is4() {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa)) // the smaller one
		v4.Family, v4.Port, v4.Addr = unix.AF_INET, netPort(a.Port()), a.Addr().As4()
		size = unsafe.Sizeof(*v4)
	} else {
		sa.Family, sa.Port, sa.Addr = unix.AF_INET6, netPort(a.Port()), a.Addr().As16()
	}
	_, _, e := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&sa)), size)
	return e
}

// netPort is a port in network order.
func netPort(p uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], p)
	return binary.NativeEndian.Uint16(b[:])
}

func rawSetns(fd int) unix.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_SETNS, uintptr(fd), unix.CLONE_NEWNET, 0)
	return e
}

// failed names the call that failed, if it did.
func failed(call string, e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return os.NewSyscallError(call, e)
}
