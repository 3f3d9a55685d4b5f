package std

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

// newTestEngine makes an engine and what it keeps of a pod in a namespace of its own.
func newTestEngine(t *testing.T, d engine.Decider) (*Engine, *pod) {
	t.Helper()
	ep := enginetest.NewPod("server")
	enginetest.Settle(t, ep)
	e := New(Options{Decider: d, Certs: enginetest.NewCerts(), TrustDomain: enginetest.TrustDomain})
	t.Cleanup(func() { _ = e.Close() })
	return e, newPod(e, ep)
}

// TestPortsInUse: live legs of one client to one application have a port each, although few are left.
func TestPortsInUse(t *testing.T) {
	const n = 20
	e, p := newTestEngine(t, enginetest.NewDecider(t))
	var mu sync.Mutex
	next := 0
	e.port = func(int) uint16 { // of n ports: each is met again and again
		mu.Lock()
		defer mu.Unlock()
		next++
		return uint16(20000 + next*7%n)
	}
	d := engine.Dial{Action: engine.Deliver, To: greeter(t, p), Pod: p.Pod}
	seen := map[string]bool{}
	for range n {
		l, err := e.connectAs(t.Context(), p, d, netip.MustParseAddr("10.99.1.2"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		_ = l.SetDeadline(time.Now().Add(time.Minute))
		b, err := io.ReadAll(l)
		if err != nil {
			t.Fatal(err)
		}
		if _, port, _ := net.SplitHostPort(string(b)); seen[port] {
			t.Errorf("port %s is used twice", port)
		} else {
			seen[port] = true
		}
	}
	if l, err := e.connectAs(t.Context(), p, d, netip.MustParseAddr("10.99.1.2")); err == nil {
		l.close()
		t.Error("one leg more than there are ports")
	}
	l, err := e.connectAs(t.Context(), p, d, netip.MustParseAddr("10.99.1.3"))
	if err != nil {
		t.Fatalf("another client: %v", err)
	}
	l.close()
}

// greeter tells each connection what its source address is.
func greeter(t *testing.T, p *pod) netip.AddrPort {
	ln := enginetest.ListenIn(t, p.Pod, p.Addrs[0])
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, c.RemoteAddr().String())
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return netsock.AddrPort(ln.Addr())
}
