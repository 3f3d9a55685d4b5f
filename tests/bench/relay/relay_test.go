package relay_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/tests/bench/relay"
)

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
	errc := make(chan error, 1)
	go func() {
		errc <- relay.Run([]netip.AddrPort{front}, []netip.AddrPort{srv.Addr().(*net.TCPAddr).AddrPort()})
	}()
	var c net.Conn
	for c == nil {
		select {
		case err := <-errc:
			t.Fatal(err)
		default:
			c, _ = net.Dial("tcp4", front.String())
		}
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
