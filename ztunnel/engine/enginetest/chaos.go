package enginetest

import (
	"crypto/x509"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// chaos: clients that come, go, reset and stall while policies change, records are killed, peers
// leave and pods are removed. Every record is closed once (the decider checks), and nothing is left.
func (by engines) chaos(t *testing.T) {
	app := ServeTCP(t, func(c *net.TCPConn) {
		switch rand.IntN(4) {
		case 0:
			_ = c.SetLinger(0)
		case 1:
			_, _ = io.ReadAll(c)
		default:
			Echo(c)
		}
	})
	m := by.newMesh(t, app)
	fd, in := ListenFD(t, "127.0.0.1")
	w := newWire(t, in, nil)
	m.in = w.addr
	goroutines, fds := runtime.NumGoroutine(), openFDs(t)
	dead := closedPort(t)
	m.client.d.Accept = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		switch rand.IntN(8) {
		case 0:
			return engine.Plan{Action: engine.Refuse, Reason: reason.NoEndpoint}
		case 1:
			return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
		case 2:
			ready := make(chan struct{})
			close(ready)
			return engine.Plan{Action: engine.Wait, Until: ready, Deadline: time.Now().Add(time.Second)}
		case 3:
			p.Dial.To = dead
		}
		return p
	}
	m.client.d.Dial = func(r *engine.Record, err *engine.DialError) engine.Plan {
		if r.Attempts < 2 {
			return m.toTunnel()
		}
		return engine.Plan{Reason: err.Reason}
	}
	judge := func(*engine.Record) (reason.Reason, bool) { return reason.PolicyChanged, rand.IntN(20) > 0 }
	m.client.d.Judge, m.server.d.Judge = judge, judge

	m.server.serve(t, engine.HBONE, fd)
	m.start(t)
	end := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for time.Now().Before(end) {
				visit(m.out, rand.IntN(5))
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(end) {
			disturb(m, w)
			time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
		}
	})
	wg.Wait()
	m.server.Remove(m.server.pod, reason.PodGone)
	m.client.Remove(m.client.pod, reason.PodGone)
	_, _ = m.client.Close(), m.server.Close()
	Eventually(t, "nothing is left", func() bool {
		runtime.GC() // net keeps the pipes of splice until then
		return runtime.NumGoroutine() <= goroutines && openFDs(t) <= fds
	})
	for _, s := range []*side{m.client, m.server} {
		if s.d.finished(); len(s.d.closed) == 0 {
			t.Error("no record was closed")
		}
	}
}

// visit is one client.
func visit(to netip.AddrPort, how int) {
	nc, err := net.Dial("tcp", to.String())
	if err != nil {
		return
	}
	defer nc.Close()
	c := nc.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	_, _ = c.Write(make([]byte, rand.IntN(100_000)))
	switch how {
	case 0:
		_ = c.SetLinger(0)
	case 1:
		_ = c.CloseWrite()
		_, _ = io.ReadAll(c)
	case 2:
		_, _ = c.Read(make([]byte, 10))
	case 3:
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
}

func disturb(m *mesh, w *wire) {
	switch rand.IntN(6) {
	case 0:
		m.client.Recheck()
	case 1:
		m.server.Recheck()
	case 2:
		m.server.Each(func(r *engine.Record) bool { m.server.Kill(r.ID, reason.PolicyChanged); return false })
	case 3:
		m.client.Each(func(r *engine.Record) bool { return r.Sent.Load() < 1<<40 })
	case 4:
		w.cut()
	case 5:
		distrust(m)
	}
}

// distrust has the server say goodbye to every peer, as if their root were gone.
func distrust(m *mesh) {
	own, _ := m.server.certs.Get(m.server.pod.Identity)
	other := *own
	other.Roots = x509.NewCertPool()
	m.server.certs.Set(m.server.pod.Identity, &other)
	m.server.Recheck()
	m.server.certs.Set(m.server.pod.Identity, own)
}
