package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

// ListenFD returns a non-blocking listening socket, which the caller closes, and its address.
func ListenFD(t testing.TB, host string) (int, netip.AddrPort) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return dupFD(t, ln.(*net.TCPListener)), netsock.AddrPort(ln.Addr())
}

func dupFD(t testing.TB, c syscall.Conn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	cerr := raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) })
	if cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return fd
}

// ServeTCP runs f for each connection, which it closes, and returns the address. It ends with the test.
func ServeTCP(t testing.TB, f func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln, f)
}

func serve(t testing.TB, ln net.Listener, f func(*net.TCPConn)) netip.AddrPort {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // no descriptors, say
				time.Sleep(time.Millisecond)
				continue
			}
			wg.Go(func() {
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				defer c.Close()
				f(c.(*net.TCPConn))
			})
		}
	})
	return netsock.AddrPort(ln.Addr())
}

// Echo gives back what it gets, and ends when the client does.
func Echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// Connect returns a connection that the test closes.
func Connect(t testing.TB, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(3 * time.Minute))
	return c.(*net.TCPConn)
}

// RoundTrip sends four bytes to an echo and wants them back.
func RoundTrip(t testing.TB, c net.Conn) {
	t.Helper()
	if err := roundTrip(c); err != nil {
		t.Fatal(err)
	}
}

func roundTrip(c net.Conn) error {
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != "ping" {
		return errors.New("the echo is " + string(b))
	}
	return nil
}

// Eventually fails the test if ok does not come true in time.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// closedPort returns an address where nobody listens, later neither: nobody else uses that one of the
// loopback device.
func closedPort(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netsock.AddrPort(ln.Addr())
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// wantReset wants that the connection ends with a reset.
func wantReset(t testing.TB, c net.Conn) {
	t.Helper()
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("read: %v, want a reset", err)
	}
}

// wantRefused connects and wants a reset.
func wantRefused(t testing.TB, to netip.AddrPort) {
	t.Helper()
	nc, err := net.Dial("tcp", to.String())
	if isReset(err) {
		return
	} else if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	if _, err := nc.Write([]byte("x")); err != nil {
		return // and a read would tell of the end only
	}
	if b, err := io.ReadAll(nc); err == nil || isTimeout(err) || len(b) > 0 {
		t.Errorf("read %q, %v; want a reset", b, err)
	}
}
