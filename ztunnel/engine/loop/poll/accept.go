package poll

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Accept takes a connection from a listener, non-blocking and closed on exec. It does not allocate.
func Accept(fd int) (conn int, from netip.AddrPort, _ unix.Errno) {
	var sa unix.RawSockaddrInet6
	for {
		size := uint32(unsafe.Sizeof(sa))
		n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch {
		case e == unix.EINTR || e == unix.ECONNABORTED:
		case e != 0:
			return -1, netip.AddrPort{}, e
		default:
			return int(n), addrPort(&sa), 0
		}
	}
}

// LocalAddr is where a socket is bound to: of a captured connection, where it was meant to go.
func LocalAddr(fd int) (netip.AddrPort, unix.Errno) {
	var sa unix.RawSockaddrInet6
	size := uint32(unsafe.Sizeof(sa))
	_, _, e := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if e != 0 {
		return netip.AddrPort{}, e
	}
	return addrPort(&sa), 0
}

// TCPInfo is what the kernel knows of a connection.
func TCPInfo(fd int) (info unix.TCPInfo, _ unix.Errno) {
	size := uint32(unsafe.Sizeof(info))
	_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info, e
}

// addrPort unmaps, and knows no zones. A RawSockaddrInet6 has room for the smaller one.
func addrPort(sa *unix.RawSockaddrInet6) netip.AddrPort {
	switch sa.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), hostPort(v4.Port))
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), hostPort(sa.Port))
	}
	return netip.AddrPort{}
}

// hostPort reads a port in network order.
func hostPort(p uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], p)
	return binary.BigEndian.Uint16(b[:])
}
