package loop

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestInfoOfWhatIsOver: a connection is over once both ends have closed it, and not while one has more to say.
func TestInfoOfWhatIsOver(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	raw, err := near.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	over := func() (over bool) {
		if err := raw.Control(func(fd uintptr) { _, over = readInfo(int(fd)) }); err != nil {
			t.Fatal(err)
		}
		return over
	}
	if over() {
		t.Error("it is over before it has begun")
	}
	if err := raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }); err != nil {
		t.Fatal(err)
	}
	if over() {
		t.Error("it is over though the far end may go on")
	}
	far.Close()
	for deadline := time.Now().Add(time.Minute); !over(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not over")
		}
	}
	if _, over := readInfo(-1); over {
		t.Error("what is no socket is over")
	}
}
