package enginetest

import (
	"io"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

func (by engines) connectionLimit(t *testing.T) {
	s := newSide(t, by.client, nil, "client")
	s.pod.Limits.Connections = 3
	app := ServeTCP(t, Echo)
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	to := s.listen(t, engine.Outbound)
	var conns []*net.TCPConn
	for range 3 {
		c := Connect(t, to)
		RoundTrip(t, c)
		conns = append(conns, c)
	}
	wantRefused(t, to)
	if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.Limit {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
	for _, c := range conns {
		RoundTrip(t, c)
	}
	conns[0].Close()
	s.d.ended(engine.Outbound, 2)
	Eventually(t, "there is room", func() bool { return s.pod.Usage.Connections.Load() == 2 })
	RoundTrip(t, Connect(t, to))
}

func (by engines) streamLimit(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	m.server.pod.Limits.Connections = 1
	m.start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	wantRefused(t, m.out)
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PeerUnavailable {
		t.Errorf("client: %q %s", r.Reason, r.Detail)
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.Limit {
		t.Errorf("server: %q %s", r.Reason, r.Detail)
	}
	RoundTrip(t, c)
}

// handshakeLimit: peers that never finish leave others' pods alone, and their own after the deadline.
func (by engines) handshakeLimit(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	m.server.pod.Limits.Handshakes = 2
	m.start(t)
	for range 2 {
		Connect(t, m.in)
	}
	Eventually(t, "both are in their handshake", func() bool { return m.server.pod.Usage.Handshakes.Load() == 2 })
	wantRefused(t, m.in)
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.Limit {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}

func (by engines) tunnelLimit(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	m.client.pod.Limits.Tunnels = 1
	second := m.server.listen(t, engine.HBONE)
	var n atomic.Int32
	m.client.d.Accept = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		if n.Add(1) == 2 {
			p.Dial.To = second
		}
		return p
	}
	m.start(t)
	RoundTrip(t, Connect(t, m.out))
	wantRefused(t, m.out)
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.Limit {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}

// loop: a leg that comes back to its own engine is refused, and with it what made it.
func (by engines) loop(t *testing.T) {
	s := newSide(t, by.client, nil, "a")
	s.d.Accept = func(r *engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: r.Dest, Pod: s.pod}}
	}
	to := s.listen(t, engine.Inbound)
	wantRefused(t, to)
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

// slowReaders: clients that do not read hold up no other tunnel, neither one that was there nor a new one.
func (by engines) slowReaders(t *testing.T) {
	app := ServeTCP(t, func(c *net.TCPConn) {
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err != nil || string(b) == "ping" {
			_, _ = c.Write(b)
			return
		}
		_, _ = io.Copy(c, zeros{})
	})
	m := by.newMesh(t, app).start(t)
	fd, slow := ListenFD(t, "127.0.0.1") // the kernel's buffers are small, so that the engine's fill soon
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 32<<10); err != nil {
		t.Fatal(err)
	}
	if err := m.client.Serve(engine.Listener{Pod: m.client.pod, Kind: engine.Outbound, FD: fd}); err != nil {
		t.Fatal(err)
	}
	first := Connect(t, m.out)
	const readers = 150
	for range readers {
		_, _ = Connect(t, slow).Write([]byte("fill"))
	}
	Eventually(t, "the queues are full", func() bool {
		return m.client.pod.Usage.Queued.Load() > 100*160<<10 // more than half of all windows
	})
	RoundTrip(t, first)
	RoundTrip(t, Connect(t, m.out))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// queueLimit: beyond its budget the pod loses the connection with most.
func (by engines) queueLimit(t *testing.T) {
	conns := make([]*net.TCPConn, 30)
	var here atomic.Int32
	all := make(chan struct{}) // those who come after the cut would never fill another connection's queue
	app := ServeTCP(t, func(c *net.TCPConn) {
		if int(here.Add(1)) == len(conns) {
			close(all)
		}
		select {
		case <-all:
		case <-t.Context().Done():
		}
		_, _ = io.Copy(c, zeros{})
	})
	m := by.newMesh(t, app)
	m.client.pod.Limits.Queued = 1 << 20
	m.start(t)
	for i := range conns {
		conns[i] = Connect(t, m.out)
		_ = conns[i].SetReadBuffer(4 << 10)
	}
	var cut []*engine.Record // not all, where there were more tunnels than one
	Eventually(t, "the connection is cut", func() bool {
		m.client.d.mu.Lock()
		defer m.client.d.mu.Unlock()
		cut = slices.Collect(maps.Values(m.client.d.closed))
		return len(cut) > 0
	})
	for _, r := range cut {
		if r.Reason != reason.Limit {
			t.Errorf("%q %s", r.Reason, r.Detail)
		}
	}
}
