package netsock

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnpace(t *testing.T) {
	for system, want := range map[string]string{"bbr": "cubic", "reno": "reno"} {
		t.Run(system, func(t *testing.T) {
			fd, err := New(unix.AF_INET)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, system); err != nil {
				t.Skipf("this kernel has no %s: %v", system, err)
			}
			if err := Unpace(fd); err != nil {
				t.Fatal(err)
			}
			got := congestion(t, fd)
			if without := want == "cubic" && got == "reno"; got != want && !without {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
	if err := Unpace(-1); err == nil {
		t.Error("no socket is no error")
	}
}

// TestUnpaceListener: what is accepted inherits it.
func TestUnpaceListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	onFD(t, l.(*net.TCPListener), func(fd int) {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr"); err != nil {
			t.Skipf("this kernel has no bbr: %v", err)
		}
		if err := Unpace(fd); err != nil {
			t.Error(err)
		}
	})
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	onFD(t, in.(*net.TCPConn), func(fd int) {
		if got := congestion(t, fd); got != "cubic" && got != "reno" {
			t.Errorf("accepted: %q", got)
		}
	})
}

func onFD(t *testing.T, c syscall.Conn, f func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
}

func congestion(t *testing.T, fd int) string {
	t.Helper()
	got, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
