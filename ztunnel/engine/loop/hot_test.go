package loop

import (
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
)

// TestHot: a connection that moves much gets another, of another worker, beside it, which takes the next
// tunnels; one that moves little gets none.
func TestHot(t *testing.T) {
	app := enginetest.ServeTCP(t, enginetest.Echo)
	to, sides := through(t, app, true)
	client := sides[0]
	if client.hotBytes != hotBytes {
		t.Errorf("hot is what moves %d bytes", client.hotBytes)
	}
	client.hotBytes = 8 << 20
	busy := enginetest.Connect(t, to)
	exchange(t, busy, 1)
	first := client.only(t)

	looked(t, first, func() { exchange(t, busy, 500) })
	visit(t, to)
	if n := client.pod.Usage.Tunnels.Load(); n != 1 || first.hot.Load() {
		t.Fatalf("%d connections for little traffic, hot: %v", n, first.hot.Load())
	}

	enginetest.Eventually(t, "there is a second", func() bool {
		exchange(t, busy, 1<<20)
		if first.hot.Load() {
			visit(t, to)
		}
		return len(client.carriers()) == 2
	})
	second := client.carriers()[0]
	if second == first {
		second = client.carriers()[1]
	}
	if second.w == first.w {
		t.Error("both are one worker's")
	}
	enginetest.Eventually(t, "it takes tunnels", func() bool {
		exchange(t, busy, 1<<20)
		c := enginetest.Connect(t, to)
		defer c.Close()
		exchange(t, c, 1)
		taken := false
		second.w.await(func() { taken = second.mux.NumStreams() > 0 })
		return taken
	})
	if n := len(client.carriers()); n > len(client.workers) {
		t.Errorf("%d connections for %d workers", n, len(client.workers))
	}
}

// visit opens and ends a connection that says little.
func visit(t *testing.T, to netip.AddrPort) {
	t.Helper()
	c := enginetest.Connect(t, to)
	defer c.Close()
	exchange(t, c, 1)
}

// carriers are the connections that the pod has opened.
func (s *side) carriers() []*carrier { return s.podOf(s.pod).allCarriers() }

func (s *side) only(t *testing.T) *carrier {
	t.Helper()
	all := s.carriers()
	if len(all) != 1 {
		t.Fatalf("%d connections", len(all))
	}
	return all[0]
}

// looked has traffic until the worker has looked after the connection twice: all that it sees the second time is traffic.
func looked(t *testing.T, c *carrier, traffic func()) {
	t.Helper()
	for range 2 {
		var was int64
		enginetest.Eventually(t, "the worker looks after it", func() (again bool) {
			traffic()
			c.w.await(func() { again, was = c.moved < was, c.moved })
			return again
		})
	}
}
