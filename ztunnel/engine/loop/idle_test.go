package loop

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
)

// side is an engine with one pod.
type side struct {
	*Engine
	d      *enginetest.Decider
	certs  *enginetest.Certs
	pod    *engine.Pod
	closed chan *engine.Record
}

// watched is a Decider whose closed records are seen, and that lets go of requests, as one may.
type watched struct {
	*enginetest.Decider
	closed chan *engine.Record
}

func (w *watched) Established(r *engine.Record) {
	w.Decider.Established(r)
	r.Request, r.Attempt.Dial.Request = nil, nil
}

func (w *watched) Closed(r *engine.Record) {
	w.Decider.Closed(r)
	select {
	case w.closed <- r:
	default: // nobody looks at so many
	}
}

func newSide(t *testing.T, ca *testca.CA, account string) *side {
	t.Helper()
	return newSideOf(t, ca, account, func(s *side) engine.Decider { return &watched{s.d, s.closed} })
}

func newSideOf(t *testing.T, ca *testca.CA, account string, decider func(*side) engine.Decider) *side {
	t.Helper()
	s := &side{d: enginetest.NewDecider(t), pod: enginetest.NewPod(account), closed: make(chan *engine.Record, 8)}
	s.certs = enginetest.NewCerts()
	s.certs.Set(s.pod.Identity, ca.Issue(s.pod.Identity.String()))
	var err error
	if s.Engine, err = New(engine.Options{Decider: decider(s), Certs: s.certs, TrustDomain: enginetest.TrustDomain,
		Loops: max(2, runtime.GOMAXPROCS(0))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *side) listen(t *testing.T, kind engine.Kind) netip.AddrPort {
	t.Helper()
	fd, addr := enginetest.ListenFD(t, "127.0.0.1")
	if err := s.Serve(engine.Listener{Pod: s.pod, Kind: kind, FD: fd}); err != nil {
		t.Fatal(err)
	}
	return addr
}

// through returns an address from which a plain leg or a tunnel leads to the application, and the engines.
func through(t *testing.T, app netip.AddrPort, tunneled bool) (netip.AddrPort, []*side) {
	t.Helper()
	ca := testca.New(t)
	client, server := newSide(t, ca, "client"), newSide(t, ca, "server")
	server.d.Tunnel = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: server.pod}}
	}
	plan := engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	if tunneled {
		plan = engine.Plan{Action: engine.Tunnel, Dial: engine.Dial{To: server.listen(t, engine.HBONE),
			Peers: []string{server.pod.Identity.String()}, Request: &hbone.Request{Authority: app.String()}}}
	}
	client.d.Accept = func(*engine.Record) engine.Plan { return plan }
	return client.listen(t, engine.Outbound), []*side{client, server}
}

func paths(t *testing.T, f func(t *testing.T, to netip.AddrPort, sides []*side)) {
	app := enginetest.ServeTCP(t, enginetest.Echo)
	for name, tunneled := range map[string]bool{"plain": false, "tunnel": true} {
		t.Run(name, func(t *testing.T) {
			to, sides := through(t, app, tunneled)
			f(t, to, sides)
		})
	}
}

// exchange sends n bytes and waits for their echo.
func exchange(t *testing.T, c net.Conn, n int) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, n))
		sent <- err
	}()
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// TestIdleHoldsNothing: after bulk a flow has neither chunk nor pipe, and a connection no record. Pipes have
// been used between two sockets, and nowhere else.
func TestIdleHoldsNothing(t *testing.T) {
	paths(t, func(t *testing.T, to netip.AddrPort, sides []*side) {
		for range 5 {
			exchange(t, enginetest.Connect(t, to), 5_000_000)
		}
		enginetest.Eventually(t, "all is delivered", func() bool {
			held := 0
			for _, s := range sides {
				for _, w := range s.workers {
					w.await(func() { held += w.holds() })
				}
			}
			return held == 0
		})
		if n, plain := pipes(sides[0]), t.Name() == "TestIdleHoldsNothing/plain"; n > 0 != plain {
			t.Errorf("%d pipes were used", n)
		}
	})
}

// pipes counts those that wait for their next use.
func pipes(s *side) (n int) {
	for _, w := range s.workers {
		w.await(func() { n += len(w.pipes.free) })
	}
	return n
}

// holds counts what the worker's flows and connections hold.
func (w *worker) holds() (n int) {
	for f := range w.e.flows.all() {
		for _, x := range []*end{&f.from, &f.to} {
			if f.w.Load() == w && (!x.pend.empty() || x.pipe != nil) {
				n++
			}
		}
	}
	for c := range w.carriers {
		if c.left != nil || c.out.Buffered() > 0 || c.mux.Unread() > 0 {
			n++
		}
	}
	return n
}

// TestMessagesAllocateNothing: a message there and back, over and over.
func TestMessagesAllocateNothing(t *testing.T) {
	paths(t, func(t *testing.T, to netip.AddrPort, _ []*side) {
		c := enginetest.Connect(t, to)
		b := make([]byte, 1024)
		turns := func(n int) {
			for range n {
				if _, err := c.Write(b); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, b); err != nil {
					t.Fatal(err)
				}
			}
		}
		turns(100)
		const n = 5000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		turns(n)
		runtime.ReadMemStats(&after)
		// What looks after the engines each second allocates a little.
		if most := 0.02 + 100*time.Since(start).Seconds()/n; float64(after.Mallocs-before.Mallocs)/n > most {
			t.Errorf("%d allocations for %d messages", after.Mallocs-before.Mallocs, n)
		}
	})
}
