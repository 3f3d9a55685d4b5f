package netsock

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConnect: the raw calls agree with net's, for both families.
func TestConnect(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		ln, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Skipf("no %s here: %v", host, err)
		}
		defer ln.Close()
		to := AddrPort(ln.Addr())
		fd, err := New(FamilyOf(to.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		defer Close(fd)
		if err := StartConnect(fd, to); err != nil {
			t.Fatal(err)
		}
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if local, err := LocalAddr(fd); err != nil || local != AddrPort(c.RemoteAddr()) {
			t.Errorf("from %v (%v), accepted from %v", local, err, c.RemoteAddr())
		}
		if err := SetReset(fd, true); err != nil {
			t.Error(err)
		}
		if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err != nil || l.Onoff != 1 || l.Linger != 0 {
			t.Errorf("%+v, %v", l, err)
		}
		if err := SetInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
			t.Error(err)
		}
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE); err != nil || v != 1 {
			t.Errorf("%d, %v", v, err)
		}
		if err := Shutdown(fd); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("no end after Shutdown")
		}
	}
}

// TestErrors: what the kernel says is found in the error.
func TestErrors(t *testing.T) {
	if err := SetInt(-1, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); !errors.Is(err, unix.EBADF) {
		t.Errorf("set option: %v", err)
	}
	if err := Shutdown(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("shutdown: %v", err)
	}
	if err := StartConnect(-1, netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, unix.EBADF) {
		t.Errorf("connect: %v", err)
	}
	if _, err := New(-1); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("socket: %v", err)
	}
}
