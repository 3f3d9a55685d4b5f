package std

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

func TestPoolReuse(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo)).start(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { c := connect(t, m.out); roundTrip(t, c); c.Close() })
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

// TestPoolKey: what differs in destination or accepted identities shares no connection.
func TestPoolKey(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo))
	second := m.server.listen(t, engine.HBONE)
	var n atomic.Int32
	m.client.d.accepted = func(*engine.Record) engine.Plan {
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
		roundTrip(t, connect(t, m.out))
		if got := m.client.pod.Usage.Tunnels.Load(); got != want+1 {
			t.Errorf("%d connections, want %d", got, want+1)
		}
	}
}

// TestPoolGrows: more tunnels than one connection takes.
func TestPoolGrows(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo)).start(t)
	const n = 250 // a client's connection takes 100
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	for i := range conns {
		conns[i] = connect(t, m.out)
		wg.Go(func() { roundTrip(t, conns[i]) })
	}
	wg.Wait()
	for _, c := range conns {
		roundTrip(t, c)
	}
	if got := m.client.pod.Usage.Tunnels.Load(); got != 3 {
		t.Errorf("%d connections for %d tunnels", got, n)
	}
}

// TestPoolIdle: what nobody uses is closed.
func TestPoolIdle(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo))
	m.client.o.IdleTunnel = 10 * time.Millisecond
	m.start(t)
	c := connect(t, m.out)
	roundTrip(t, c)
	time.Sleep(3 * sweepEvery / 2)
	roundTrip(t, c)
	if n := m.client.pod.Usage.Tunnels.Load(); n != 1 {
		t.Fatalf("%d connections while one is used", n)
	}
	c.Close()
	eventually(t, "the connection is closed", func() bool {
		return m.client.pod.Usage.Tunnels.Load() == 0 && m.server.pod.Usage.Tunnels.Load() == 0
	})
}

// TestPoolStale: a pooled connection that died is replaced without a failure.
func TestPoolStale(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo)).start(t)
	for i := range 5 {
		c := connect(t, m.out)
		roundTrip(t, c)
		c.Close()
		m.server.d.ended(engine.HBONE, i+1)
		for _, s := range m.server.podOf(m.server.pod).allServers() {
			_ = s.conn.Close()
		}
	}
	if len(m.client.d.errs) > 0 {
		t.Errorf("failed attempts: %v", m.client.d.errs)
	}
}

// TestGoAwayUnderTraffic: peers leave all the time, and no connection fails.
func TestGoAwayUnderTraffic(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo)).start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c := connect(t, m.out)
				roundTrip(t, c)
				c.Close()
			}
		})
	}
	for ctx.Err() == nil {
		for _, s := range m.server.podOf(m.server.pod).allServers() {
			s.conn.GoAway()
		}
		time.Sleep(20 * time.Millisecond)
	}
	wg.Wait()
	if len(m.client.d.errs) > 0 {
		t.Errorf("failed attempts: %v", m.client.d.errs)
	}
}

// TestRootRotation: a peer whose root is no longer trusted is told to go; what runs goes on.
func TestRootRotation(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo)).start(t)
	c := connect(t, m.out)
	roundTrip(t, c)
	next := testca.New(t)
	m.client.certs.set(id("client"), next.Issue(id("client").String()))
	m.server.certs.set(id("server"), next.Issue(id("server").String()))
	m.server.Recheck()
	m.client.Recheck()
	roundTrip(t, c)
	roundTrip(t, connect(t, m.out))
	if n := m.client.pod.Usage.Tunnels.Load(); n != 2 {
		t.Errorf("%d connections, want the old and the new", n)
	}
	c.Close()
	eventually(t, "the old connection has ended", func() bool { return m.client.pod.Usage.Tunnels.Load() == 1 })
}

// TestStatuses: what the peer answers becomes a reason, and is not tried again.
func TestStatuses(t *testing.T) {
	for status, want := range map[int]reason.Reason{400: reason.BadRequest, 401: reason.PeerRefused, 403: reason.PeerRefused, 503: reason.PeerUnavailable, 0: reason.PeerUnavailable} {
		m := newMesh(t, serveTCP(t, echo))
		m.server.d.connect = func(*engine.Record) engine.Plan {
			return engine.Plan{Action: engine.Refuse, Reason: reason.PolicyDeny, Detail: "by a test", Status: status}
		}
		if status == 0 {
			m.server.d.connect = func(*engine.Record) engine.Plan {
				return engine.Plan{Action: engine.Refuse, Reason: reason.NoEndpoint}
			}
			status = 503
		}
		m.start(t)
		refusedConn(t, m)
		r := m.client.d.ended(engine.Outbound, 1)[0]
		err := m.client.d.errs[0]
		if r.Reason != want || err.Status != status || len(m.client.d.errs) != 1 || r.Attempts != 1 {
			t.Errorf("%d: %q, errors %v, attempts %d", status, r.Reason, m.client.d.errs, r.Attempts)
		}
		m.server.d.ended(engine.HBONE, 1)
	}
}

// TestServerDialFails: a failed delivery is answered 503.
func TestServerDialFails(t *testing.T) {
	m := newMesh(t, closedPort(t)).start(t)
	refusedConn(t, m)
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.ConnectRefused {
		t.Errorf("server: %q %s", r.Reason, r.Detail)
	}
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PeerUnavailable {
		t.Errorf("client: %q %s", r.Reason, r.Detail)
	}
}

// TestNextEndpoint: after a failed attempt the Decider names another.
func TestNextEndpoint(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo))
	dead := closedPort(t)
	m.client.d.accepted = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		p.Dial.To = dead
		return p
	}
	m.client.d.dialed = func(r *engine.Record, err *engine.DialError) engine.Plan {
		if err.Reason != reason.ConnectRefused {
			t.Errorf("first attempt: %v", err)
		}
		return m.toTunnel()
	}
	m.start(t)
	c := connect(t, m.out)
	roundTrip(t, c)
	c.Close()
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Attempts != 2 || r.Reason != reason.None {
		t.Errorf("attempts %d, %q", r.Attempts, r.Reason)
	}
}

// TestManyFail: those who wait for one dial fail with it, and not each with its own.
func TestManyFail(t *testing.T) {
	app := serveTCP(t, echo)
	m := newMesh(t, app)
	m.in = serveTCP(t, func(c *net.TCPConn) { _, _ = io.ReadAll(c) }) // says nothing
	m.client.o.DialTimeout = 300 * time.Millisecond
	m.start(t)
	var wg sync.WaitGroup
	start := time.Now()
	for range 30 {
		wg.Go(func() { refusedConn(t, m) })
	}
	wg.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	for _, r := range m.client.d.ended(engine.Outbound, 30) {
		if r.Reason != reason.ConnectTimeout {
			t.Errorf("%q %s", r.Reason, r.Detail)
		}
	}
}

// TestBadAuthority: a request that cannot be sent fails as one.
func TestBadAuthority(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo))
	m.client.d.accepted = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		p.Dial.Request = hbone.Request{Authority: "no port"}
		return p
	}
	m.start(t)
	refusedConn(t, m)
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.BadRequest {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}
