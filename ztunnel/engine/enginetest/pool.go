package enginetest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

func (by engines) poolReuse(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { visitEcho(t, m.out) })
	}
	wg.Wait()
	if n := m.client.pod.Usage.Tunnels.Load(); n != 1 {
		t.Errorf("%d connections for 20 tunnels", n)
	}
	in := m.server.d.ended(engine.HBONE, 20)
	for _, r := range in {
		if r.Peer != id("client") || r.Request.Authority != m.app.String() || r.Dest != m.in || r.Source.Port() != in[0].Source.Port() {
			t.Errorf("peer %v, request %+v, %v -> %v", r.Peer, r.Request, r.Source, r.Dest)
		}
	}
	dialed := 0
	for _, r := range m.client.d.ended(engine.Outbound, 20) {
		if r.Attempt.Handshake > 0 && r.Attempt.Connected > 0 {
			dialed++
		}
	}
	if dialed != 1 {
		t.Errorf("%d records say that they made the connection", dialed)
	}
}

// poolKey: what differs in destination or accepted identities shares no connection.
func (by engines) poolKey(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	second := m.server.listen(t, engine.HBONE)
	var n atomic.Int32
	m.client.d.Accept = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		switch n.Add(1) {
		case 2:
			p.Dial.Peers = append(p.Dial.Peers, id("other").String())
		case 3:
			p.Dial.To = second
		}
		return p
	}
	m.start(t)
	for want := range int64(3) {
		RoundTrip(t, Connect(t, m.out))
		if got := m.client.pod.Usage.Tunnels.Load(); got != want+1 {
			t.Errorf("%d connections, want %d", got, want+1)
		}
	}
}

// poolGrows: more tunnels than one connection takes.
func (by engines) poolGrows(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	const n = 450 // a connection takes 120, and 100 before the peer has said so
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	for i := range conns {
		conns[i] = Connect(t, m.out)
		wg.Go(func() {
			if err := roundTrip(conns[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, c := range conns {
		RoundTrip(t, c)
	}
	if got := m.client.pod.Usage.Tunnels.Load(); got < 4 || got > 5 {
		t.Errorf("%d connections for %d tunnels", got, n)
	}
}

// poolIdle: what nobody uses is closed.
func (by engines) poolIdle(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	m.client.o.IdleTunnel = 10 * time.Millisecond
	m.start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	time.Sleep(3 * time.Second / 2)
	RoundTrip(t, c)
	if n := m.client.pod.Usage.Tunnels.Load(); n != 1 {
		t.Fatalf("%d connections while one is used", n)
	}
	c.Close()
	Eventually(t, "the connection is closed", func() bool {
		return m.client.pod.Usage.Tunnels.Load() == 0 && m.server.pod.Usage.Tunnels.Load() == 0
	})
}

// poolStale: a pooled connection that died is replaced without a failure.
func (by engines) poolStale(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	w := newWire(t, m.server.listen(t, engine.HBONE), nil)
	m.in = w.addr
	m.start(t)
	for i := range 5 {
		c := Connect(t, m.out)
		RoundTrip(t, c)
		c.Close()
		m.server.d.ended(engine.HBONE, i+1)
		w.cut()
	}
	if errs := m.client.d.failed(); len(errs) > 0 {
		t.Errorf("failed attempts: %v", errs)
	}
}

// rootRotation: a peer whose root is no longer trusted is told to go; what runs goes on.
func (by engines) rootRotation(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	next := testca.New(t)
	m.client.certs.Set(id("client"), next.Issue(id("client").String()))
	m.server.certs.Set(id("server"), next.Issue(id("server").String()))
	m.server.Recheck()
	m.client.Recheck()
	RoundTrip(t, c)
	RoundTrip(t, Connect(t, m.out))
	if n := m.client.pod.Usage.Tunnels.Load(); n != 2 {
		t.Errorf("%d connections, want the old and the new", n)
	}
	c.Close()
	Eventually(t, "the old connection has ended", func() bool { return m.client.pod.Usage.Tunnels.Load() == 1 })
}
