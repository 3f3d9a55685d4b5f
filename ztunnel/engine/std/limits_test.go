package std

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

func TestConnectionLimit(t *testing.T) {
	s := newSide(t, nil, "client")
	s.pod.Limits.Connections = 3
	app := serveTCP(t, echo)
	s.d.accepted = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	to := s.listen(t, engine.Outbound)
	var conns []*net.TCPConn
	for range 3 {
		c := connect(t, to)
		roundTrip(t, c)
		conns = append(conns, c)
	}
	refusedConn(t, &mesh{out: to})
	if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.Limit {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
	for _, c := range conns {
		roundTrip(t, c)
	}
	conns[0].Close()
	s.d.ended(engine.Outbound, 2)
	eventually(t, "there is room", func() bool { return s.pod.Usage.Connections.Load() == 2 })
	roundTrip(t, connect(t, to))
}

func TestStreamLimit(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo))
	m.server.pod.Limits.Connections = 1
	m.start(t)
	c := connect(t, m.out)
	roundTrip(t, c)
	refusedConn(t, m)
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PeerUnavailable {
		t.Errorf("client: %q %s", r.Reason, r.Detail)
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.Limit {
		t.Errorf("server: %q %s", r.Reason, r.Detail)
	}
	roundTrip(t, c)
}

// TestHandshakeLimit: peers that never finish leave others' pods alone, and their own after the deadline.
func TestHandshakeLimit(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo))
	m.server.pod.Limits.Handshakes = 2
	m.start(t)
	for range 2 {
		connect(t, m.in)
	}
	eventually(t, "both are in their handshake", func() bool { return m.server.pod.Usage.Handshakes.Load() == 2 })
	refusedConn(t, &mesh{out: m.in})
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.Limit {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}

func TestTunnelLimit(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo))
	m.client.pod.Limits.Tunnels = 1
	second := m.server.listen(t, engine.HBONE)
	var n atomic.Int32
	m.client.d.accepted = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		if n.Add(1) == 2 {
			p.Dial.To = second
		}
		return p
	}
	m.start(t)
	roundTrip(t, connect(t, m.out))
	refusedConn(t, m)
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.Limit {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}

// TestLoop: a leg that comes back to its own engine is refused, and with it what made it.
func TestLoop(t *testing.T) {
	s := newSide(t, nil, "a")
	s.d.accepted = func(r *engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: r.Dest, Pod: s.pod}}
	}
	to := s.listen(t, engine.Inbound)
	refusedConn(t, &mesh{out: to})
	var loops int
	for _, r := range s.d.ended(engine.Inbound, 2) {
		if r.Reason == reason.Loop {
			loops++
		}
	}
	if loops != 1 {
		t.Errorf("%d loops", loops)
	}
}

// TestSlowReaders: 90 clients that do not read hold up no other tunnel of the same connection.
func TestSlowReaders(t *testing.T) {
	app := serveTCP(t, func(c *net.TCPConn) {
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err != nil || string(b) == "ping" {
			_, _ = c.Write(b)
			return
		}
		_, _ = io.Copy(c, zeros{})
	})
	m := newMesh(t, app).start(t)
	fd, slow := listenFD(t, "127.0.0.1") // the kernel's buffers are small, so that the engine's fill soon
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 32<<10); err != nil {
		t.Fatal(err)
	}
	if err := m.client.Serve(engine.Listener{Pod: m.client.pod, Kind: engine.Outbound, FD: fd}); err != nil {
		t.Fatal(err)
	}
	for range 90 {
		_, _ = connect(t, slow).Write([]byte("fill"))
	}
	eventually(t, "the queues are full", func() bool {
		var sum int
		for _, c := range m.client.podOf(m.client.pod).pool.list() {
			sum += c.cc.Buffered()
		}
		return sum > 90*60<<10 // half of each window at least
	})
	roundTrip(t, connect(t, m.out))
	if n := m.client.pod.Usage.Tunnels.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	eventually(t, "the queue is counted", func() bool { return m.client.pod.Usage.Queued.Load() > 1<<20 })
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestQueueLimit: beyond its budget the pod loses the connection with most.
func TestQueueLimit(t *testing.T) {
	app := serveTCP(t, func(c *net.TCPConn) { _, _ = io.Copy(c, zeros{}) })
	m := newMesh(t, app)
	m.client.pod.Limits.Queued = 1 << 20
	m.start(t)
	conns := make([]*net.TCPConn, 30)
	for i := range conns {
		conns[i] = connect(t, m.out)
		_ = conns[i].SetReadBuffer(4 << 10)
	}
	eventually(t, "the connection is cut", func() bool {
		m.client.d.mu.Lock()
		defer m.client.d.mu.Unlock()
		return len(m.client.d.closed) == len(conns)
	})
	for _, r := range m.client.d.ended(engine.Outbound, len(conns)) {
		if r.Reason != reason.Limit {
			t.Errorf("%q %s", r.Reason, r.Detail)
		}
	}
}
