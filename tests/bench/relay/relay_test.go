package relay_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/bench/relay"
)

// The loop waits in raw system calls, which the runtime cannot preempt: it needs a process of its own.
func TestMain(m *testing.M) {
	if a := os.Getenv("RELAY"); a != "" {
		from, to, _ := strings.Cut(a, " ")
		err := relay.Run([]netip.AddrPort{netip.MustParseAddrPort(from)}, []netip.AddrPort{netip.MustParseAddrPort(to)})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func startRelay(t *testing.T, from, to string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "RELAY="+from+" "+to)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// The floor must be a correct relay, or the ratios to it mean nothing: bytes and half-close both ways.
func TestRelayKeepsBytesAndHalfClose(t *testing.T) {
	srv, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	go func() {
		for {
			c, err := srv.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b, _ := io.ReadAll(c)
				c.Write(b)
			}()
		}
	}()
	front := freePort(t)
	startRelay(t, front.String(), srv.Addr().String())
	var c net.Conn
	for c == nil && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
		c, _ = net.Dial("tcp4", front.String())
	}
	defer c.Close()
	want := make([]byte, 4<<20)
	rand.Read(want)
	go func() {
		c.Write(want)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, %v; want the %d sent", len(got), err, len(want))
	}
}
