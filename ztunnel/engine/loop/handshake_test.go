package loop

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
)

// TestHandshakeUnread: a peer that does not read the last flight, which is as long as the certificates that it
// showed, keeps neither a share of the budget nor the handshake beyond its time.
func TestHandshakeUnread(t *testing.T) {
	near, far := shortPair(t)
	ca := testca.New(t)
	cfg := identity.ServerConfig(ca.Issue("spiffe://cluster.local/ns/shop/sa/web"), "cluster.local", time.Now)
	cfg.SessionTicketsDisabled = false
	e := &Engine{budget: make(budget, 1)}
	e.budget <- make([]byte, talkSize)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := e.handshake(ctx, near, cfg, false)
		ended <- err
	}()
	own := ca.Issue("spiffe://cluster.local/ns/shop/sa/peer").TLS
	own.Certificate = slices.Repeat(own.Certificate, 80)
	if err := tls.Client(far, &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, InsecureSkipVerify: true,
		Certificates: []tls.Certificate{own}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}).Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil { // now the last flight is being sent
		t.Fatal(err)
	}
	const patience = 20 * time.Second
	select {
	case share := <-e.budget:
		e.budget <- share
	case <-time.After(patience):
		t.Error("it has a share while it waits")
	}
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the handshake was done")
		}
	case <-time.After(patience):
		t.Error("it waits beyond its time")
	}
}

// shortPair is a connection of which the near end sends little that is not read.
func shortPair(t *testing.T) (*socket, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near := &socket{File: os.NewFile(uintptr(fds[0]), "near")}
	t.Cleanup(func() { near.Close() })
	f := os.NewFile(uintptr(fds[1]), "far")
	defer f.Close()
	far, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<10); err != nil {
		t.Fatal(err)
	}
	return near, far
}
