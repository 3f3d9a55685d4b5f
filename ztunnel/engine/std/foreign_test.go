package std

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
)

func TestForeignPort(t *testing.T) {
	for range 100_000 {
		if p := legs.Port(0); p < 16384 || p >= 32768 && p < 61000 {
			t.Fatalf("port %d", p)
		}
		if p := legs.Port(legs.Tries - 1); p < 1024 {
			t.Fatalf("port %d", p)
		}
	}
}

// TestPortsInUse: live legs of one client to one application have a port each, although few are left.
func TestPortsInUse(t *testing.T) {
	const n = 20
	s := newSide(t, nil, "server")
	s.pod.NetNS, s.pod.Mark, s.pod.Addrs = podNS(t), testMark, podAddrs
	s.start()
	var mu sync.Mutex
	next := 0
	s.port = func(int) uint16 { // of n ports: each is met again and again
		mu.Lock()
		defer mu.Unlock()
		next++
		return uint16(20000 + next*7%n)
	}
	p := newPod(s.Engine, s.pod)
	app := greeter(t, p, podAddrs[0])
	d := engine.Dial{Action: engine.Deliver, To: app, Pod: s.pod}
	seen := map[string]bool{}
	for range n {
		l, err := s.connectAs(t.Context(), p, d, netip.MustParseAddr("10.99.1.2"))
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
	if l, err := s.connectAs(t.Context(), p, d, netip.MustParseAddr("10.99.1.2")); err == nil {
		l.close()
		t.Error("one leg more than there are ports")
	}
	l, err := s.connectAs(t.Context(), p, d, netip.MustParseAddr("10.99.1.3"))
	if err != nil {
		t.Fatalf("another client: %v", err)
	}
	l.close()
}
