package netsock

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUnpace(t *testing.T) {
	for name, c := range map[string]struct {
		system, want string
		near         time.Duration
	}{
		"near and paced":     {"bbr", "cubic", time.Minute},
		"far":                {"bbr", "bbr", 0},
		"not paced as it is": {"reno", "reno", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			fd := connected(t)
			if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, c.system); err != nil {
				t.Skipf("this kernel has no %s: %v", c.system, err)
			}
			if err := Unpace(fd, c.near); err != nil {
				t.Fatal(err)
			}
			got, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
			if err != nil || got != c.want && !(c.want == "cubic" && got == "reno") {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
	if err := Unpace(-1, Near); err == nil {
		t.Error("no socket is no error")
	}
}

// connected is one end of a connection over loopback.
func connected(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}
