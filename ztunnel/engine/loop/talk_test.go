package loop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// talks is both ends of a connection, the near one as a handshake has it, and whoever gets its share.
func talks(t *testing.T) (*talk, net.Conn, budget) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make(budget, 1)
	b <- make([]byte, 4)
	f := os.NewFile(uintptr(fds[1]), "far")
	defer f.Close()
	far, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	near := &socket{File: os.NewFile(uintptr(fds[0]), "near")}
	t.Cleanup(func() { near.Close() })
	x, err := newTalk(near, b)
	if err != nil {
		t.Fatal(err)
	}
	return x, far, b
}

// TestTalkShare: who waits for its peer lets others compute.
func TestTalkShare(t *testing.T) {
	x, far, b := talks(t)
	read := make(chan error, 1)
	go func() {
		_, err := x.Read(make([]byte, 1))
		read <- err
	}()
	share := <-b // while it reads
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-read:
		t.Error("it computes without a share")
	case <-time.After(20 * time.Millisecond):
	}
	b <- share
	if err := <-read; err != nil {
		t.Error(err)
	}
	x.end()
	x.end()
	if len(b) != 1 {
		t.Error("its share is lost, or there are two")
	}
}

// TestTalkFlights: what is written goes out when the peer is waited for, as one; what the peer says is
// handed on in pieces, and what nobody has asked for is left over.
func TestTalkFlights(t *testing.T) {
	x, far, _ := talks(t)
	for _, s := range []string{"a", "b", "c"} {
		if n, err := x.Write([]byte(s)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	go func() {
		buf := make([]byte, 8)
		n, err := far.Read(buf)
		if err != nil || string(buf[:n]) != "abc" {
			t.Errorf("far end got %q, %v", buf[:n], err)
		}
		_, _ = far.Write([]byte("1234567"))
	}()
	buf := make([]byte, 3)
	for _, want := range []string{"123", "4", "56"} { // the share's buffer has four
		n, err := io.ReadAtLeast(x, buf[:min(len(want), 3)], len(want))
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("got %q, %v, want %q", buf[:n], err, want)
		}
	}
	if rest := x.rest(); !bytes.Equal(rest, []byte("7")) {
		t.Errorf("%q is left over", rest)
	}
}

// TestTalkEnds: a peer that has gone, and a socket that was closed while the peer was waited for.
func TestTalkEnds(t *testing.T) {
	x, far, _ := talks(t)
	far.Close()
	if _, err := x.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v", err)
	}
	if _, err := x.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if err := x.push(0); !errors.Is(err, unix.EPIPE) {
		t.Errorf("got %v", err)
	}

	x, _, b := talks(t)
	read := make(chan error, 1)
	go func() {
		_, err := x.Read(make([]byte, 1))
		read <- err
	}()
	<-b
	x.Close()
	if err := <-read; err == nil || err == io.EOF {
		t.Errorf("got %v", err)
	}
	x.end() // has no share
	if len(b) != 0 {
		t.Error("it gave back what it did not have")
	}
}
