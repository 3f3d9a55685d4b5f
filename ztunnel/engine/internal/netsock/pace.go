package netsock

import (
	"bytes"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Unpace has a socket that is not connected yet, or what a listener will accept, send as its window allows.
// Where the system's congestion control is BBR, the kernel paces each connection by a timer for as long as it
// lives (net/ipv4/tcp_bbr.c, sk_pacing_status), which costs a third of the CPU of bulk transfers between
// neighbours. It is for connections that do not leave the cluster's own network: legs of the node's pods,
// and tunnels. The system's choice stays where it is another one.
func Unpace(fd int) error {
	var now [16]byte // TCP_CA_NAME_MAX
	size := uint32(len(now))
	_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION,
		uintptr(unsafe.Pointer(&now)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 || !bytes.HasPrefix(now[:], []byte("bbr")) {
		return failed("getsockopt", e)
	}
	if err := setCongestion(fd, "cubic"); err == nil { // Linux's own default
		return nil
	}
	return setCongestion(fd, "reno") // always there, and allowed to all
}

func setCongestion(fd int, name string) error {
	b := []byte(name)
	err := setOption(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, unsafe.Pointer(&b[0]), uintptr(len(b)))
	runtime.KeepAlive(b)
	return err
}
