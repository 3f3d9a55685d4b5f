package enginetest

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func openFDs(t testing.TB) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// copies counts the descriptors of the socket that fd is one of.
func copies(t testing.TB, fd int) (n int) {
	t.Helper()
	name := func(fd string) string {
		s, err := os.Readlink("/proc/self/fd/" + fd)
		if err != nil {
			return "" // closed meanwhile
		}
		return s
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range fds {
		if name(e.Name()) == name(fmt.Sprint(fd)) {
			n++
		}
	}
	return n
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// localAddr is what an IPv4 socket is bound to.
func localAddr(t testing.TB, fd int) netip.AddrPort {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	a, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("bound to %v", sa)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
}
