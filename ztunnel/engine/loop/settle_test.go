package loop

import (
	"cmp"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
)

// TestSizes: every idle connection has one of each. 224 and 208 bytes are sizes that the runtime has; one byte
// more takes 16.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(flow{}); n > 224 {
		t.Errorf("a flow takes %d bytes", n)
	}
	if n := unsafe.Sizeof(kept{}); n > 208 {
		t.Errorf("what is kept of a record takes %d bytes", n)
	}
}

// settled waits until n records of an engine are kept.
func settled(t *testing.T, e *Engine, n int) {
	t.Helper()
	enginetest.Eventually(t, "records are kept", func() bool {
		kept := 0
		for f := range e.flows.all() {
			f.mu.Lock()
			if f.kept != nil {
				kept++
			}
			f.mu.Unlock()
		}
		return kept == n
	})
}

// lasting opens n tunnels that last, each of which has carried a byte back. judge judges at the far end.
func lasting(t *testing.T, n int, judge func(*engine.Record) (reason.Reason, bool)) (client, server *side, conns []net.Conn) {
	t.Helper()
	app, ca := enginetest.ServeTCP(t, enginetest.Echo), testca.New(t)
	client, server = newSide(t, ca, "client"), newSide(t, ca, "server")
	server.d.Judge = judge
	server.d.Tunnel = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: server.pod}}
	}
	to, peers := server.listen(t, engine.HBONE), []string{server.pod.Identity.String()}
	client.d.Accept = func(r *engine.Record) engine.Plan {
		r.Trace, r.State = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", r.Pod
		return engine.Plan{Action: engine.Tunnel, Dial: engine.Dial{To: to, Peers: peers,
			Request: &hbone.Request{Authority: app.String(), Traceparent: r.Trace}}}
	}
	from := client.listen(t, engine.Outbound)
	for range n {
		conns = append(conns, enginetest.Connect(t, from))
		exchange(t, conns[len(conns)-1], 1)
	}
	return client, server, conns
}

// TestKeptFlows: a connection whose record was kept goes on, and is shown, judged, killed and closed like any
// other.
func TestKeptFlows(t *testing.T) {
	var forbidden atomic.Uint64
	client, server, conns := lasting(t, 3, func(r *engine.Record) (reason.Reason, bool) {
		return reason.PolicyChanged, r.ID != forbidden.Load() || r.Peer.IsZero()
	})
	settled(t, client.Engine, 3)
	settled(t, server.Engine, 3)
	for _, c := range conns {
		exchange(t, c, 1)
	}
	shown := shownBy(server.Engine)
	if len(shown) != 3 {
		t.Fatalf("%d connections are shown", len(shown))
	}
	for _, r := range shown {
		if r.Kind != engine.HBONE || r.Peer != client.pod.Identity || r.Pod != server.pod || r.Sent.Load() != 2 || r.Received.Load() != 2 || r.First <= 0 {
			t.Errorf("%+v", r)
		}
	}
	forbidden.Store(shown[0].ID)
	server.Recheck()
	if r := <-server.closed; r.ID != shown[0].ID || r.Reason != reason.PolicyChanged || r.Source != shown[0].Source || r.Ended <= 0 {
		t.Errorf("judged again: %+v", r)
	}
	server.Kill(shown[1].ID, reason.Drain)
	if r := <-server.closed; r.ID != shown[1].ID || r.Reason != reason.Drain || r.Sent.Load() != 2 {
		t.Errorf("killed: %+v", r)
	}
	for _, c := range conns {
		c.Close()
	}
	if r := <-server.closed; r.ID != shown[2].ID || r.Reason != reason.None || r.Received.Load() != 2 || r.Attempt.Dial.Pod != server.pod {
		t.Errorf("closed: %+v", r)
	}
	for range conns {
		if r := <-client.closed; r.Trace == "" || r.State != client.pod || r.Attempt.Dial.Peers == nil {
			t.Errorf("%+v", r)
		}
	}
	for _, s := range []*side{client, server} {
		enginetest.Eventually(t, "nothing is left", func() bool { return len(s.flows.appendTo(nil)) == 0 })
	}
}

// shownBy returns what Each shows, the oldest first.
func shownBy(e *Engine) (all []*engine.Record) {
	e.Each(func(r *engine.Record) bool {
		all = append(all, new(*r))
		return true
	})
	slices.SortFunc(all, func(a, b *engine.Record) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// yes allows everything and remembers nothing.
type yes struct{ plan engine.Plan }

func (y yes) Accepted(*engine.Record) engine.Plan                  { return y.plan }
func (y yes) Connect(*engine.Record) engine.Plan                   { return y.plan }
func (yes) Dialed(*engine.Record, *engine.DialError) engine.Plan   { return engine.Plan{} }
func (yes) Answered(*engine.Record)                                {}
func (yes) Closed(*engine.Record)                                  {}
func (yes) Rejudge(*engine.Record) (why reason.Reason, allow bool) { return "", true }
func (yes) Established(r *engine.Record)                           { r.Request, r.Attempt.Dial.Request = nil, nil }

// idleTunnels is a way through two engines to where nobody accepts. open opens connections to it: they are
// descriptors that no goroutine serves.
func idleTunnels(t *testing.T, n int) (server *Engine, open func(n int)) {
	t.Helper()
	fd, app := enginetest.ListenFD(t, "127.0.0.1")
	fds := append(make([]int, 0, n+1), fd)
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	})
	ca := testca.New(t)
	in := newSideOf(t, ca, "server", func(s *side) engine.Decider {
		return yes{engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: s.pod}}}
	})
	dial := engine.Dial{To: in.listen(t, engine.HBONE), Peers: []string{in.pod.Identity.String()}, Request: &hbone.Request{Authority: app.String()}}
	out := newSideOf(t, ca, "client", func(*side) engine.Decider { return yes{engine.Plan{Action: engine.Tunnel, Dial: dial}} })
	to := out.listen(t, engine.Outbound)
	return in.Engine, func(n int) {
		for range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
			if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestIdleTunnelIsSmall: what an idle tunnel takes of the heap, at both ends together and with its part of the
// connection that carries it, once what it took to open it is given back.
func TestIdleTunnelIsSmall(t *testing.T) {
	const first, n, most = 200, 1000, 1900
	procs := runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0))) // each worker has connections of its own, whatever they carry
	t.Cleanup(func() { runtime.GOMAXPROCS(procs) })
	server, open := idleTunnels(t, first+n)
	heap := func() int {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int(s.HeapAlloc)
	}
	open(first)
	settled(t, server, first)
	before := heap()
	open(n)
	settled(t, server, first+n)
	each := 0
	enginetest.Eventually(t, "an idle tunnel is small", func() bool {
		each = (heap() - before) / n
		t.Logf("%d bytes", each)
		return each <= most
	})
}
