package enginetest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// rolling: servers' engines succeed each other on one listening socket, each saying goodbye to its
// peers. No connection fails.
func (by engines) rolling(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	fd, in := ListenFD(t, "127.0.0.1")
	defer unix.Close(fd)
	m.in = in
	m.server.serve(t, engine.HBONE, dup(t, fd))
	m.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var visitors, drains sync.WaitGroup
	for range 4 {
		visitors.Go(func() {
			for ctx.Err() == nil {
				visitEcho(t, m.out)
			}
		})
	}
	old := m.server
	for range 20 {
		next := newSide(t, by.server, m.ca, "server")
		next.d.Tunnel = func(*engine.Record) engine.Plan {
			return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: m.app, Pod: next.pod}}
		}
		next.serve(t, engine.HBONE, dup(t, fd))
		leaving := old
		drains.Go(func() {
			if err := leaving.Drain(t.Context()); err != nil {
				t.Errorf("drain: %v", err)
			}
		})
		Eventually(t, "the next engine has work", func() bool { return next.d.count() > 20 })
		old = next
	}
	cancel()
	visitors.Wait()
	drains.Wait()
	if errs := m.client.d.failed(); len(errs) > 0 {
		t.Errorf("failed attempts: %v", errs)
	}
}

// visitEcho is one short connection. It may be called from any goroutine.
func visitEcho(t testing.TB, to netip.AddrPort) {
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if err := roundTrip(c); err != nil {
		t.Errorf("round trip: %v", err)
	}
}
