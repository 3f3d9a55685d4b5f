package enginetest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// noise is n bytes that are the same in every run.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// collect hands over what each client sent.
func collect(got chan<- []byte) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		got <- b
	}
}

// earlyData: what a client sends before anybody has answered, and its end, arrive all the same.
func (by engines) earlyData(t *testing.T) {
	for _, size := range []int{0, 1, 40_000, 1_000_000} {
		got := make(chan []byte, 1)
		m := by.newMesh(t, ServeTCP(t, collect(got)))
		ready := make(chan struct{})
		m.server.d.Tunnel = func(*engine.Record) engine.Plan {
			select {
			case <-ready:
				return m.deliver()
			default:
				return engine.Plan{Action: engine.Wait, Until: ready, Deadline: time.Now().Add(time.Minute)}
			}
		}
		m.start(t)
		c := Connect(t, m.out)
		time.AfterFunc(50*time.Millisecond, func() { close(ready) })
		sent := noise(size)
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		if b := <-got; !bytes.Equal(b, sent) {
			t.Errorf("of %d bytes %d arrived, or others", size, len(b))
		}
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("%q, %v", b, err)
		}
		if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.None || r.Sent.Load() != uint64(size) {
			t.Errorf("%q %s, sent %d of %d", r.Reason, r.Detail, r.Sent.Load(), size)
		}
	}
}

// earlyDataTwice: what was sent to an endpoint that refused is sent to the next, once.
func (by engines) earlyDataTwice(t *testing.T) {
	got := make(chan []byte, 1)
	m := by.newMesh(t, ServeTCP(t, collect(got)))
	var asked atomic.Int32
	m.server.d.Tunnel = func(r *engine.Record) engine.Plan {
		if asked.Add(1) == 1 {
			return engine.Plan{Action: engine.Refuse, Reason: reason.NoEndpoint}
		}
		return m.deliver()
	}
	m.client.d.Dial = func(r *engine.Record, err *engine.DialError) engine.Plan {
		if r.Attempts > 1 || err.Status != 503 {
			t.Errorf("attempt %d: %v", r.Attempts, err)
		}
		time.Sleep(10 * time.Millisecond) // the client has sent by now
		return m.toTunnel()
	}
	m.start(t)
	c := Connect(t, m.out)
	sent := noise(300_000)
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if b := <-got; !bytes.Equal(b, sent) {
		t.Errorf("of %d bytes %d arrived, or others", len(sent), len(b))
	}
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.None || r.Attempts != 2 || r.Sent.Load() != uint64(len(sent)) {
		t.Errorf("%q %s, attempts %d, sent %d", r.Reason, r.Detail, r.Attempts, r.Sent.Load())
	}
}

// earlyDataLost: where an endpoint may have acted on what was sent, no other gets it.
func (by engines) earlyDataLost(t *testing.T) {
	got := make(chan []byte, 1)
	m := by.newMesh(t, ServeTCP(t, collect(got)))
	var asked atomic.Int32
	m.server.d.Tunnel = func(r *engine.Record) engine.Plan {
		if asked.Add(1) > 1 {
			return m.deliver()
		}
		time.Sleep(20 * time.Millisecond) // the client's data is here by now
		return engine.Plan{Action: engine.Refuse, Reason: reason.PolicyDeny, Status: 401}
	}
	m.client.d.Dial = func(*engine.Record, *engine.DialError) engine.Plan { return m.toTunnel() }
	m.start(t)
	c := Connect(t, m.out)
	sent := noise(10_000)
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if _, err := io.ReadAll(c); err == nil { // an engine that sends nothing early may try again
		if b := <-got; !bytes.Equal(b, sent) {
			t.Errorf("of %d bytes %d arrived, or others", len(sent), len(b))
		}
		return
	}
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PeerRefused || r.Sent.Load() != 0 {
		t.Errorf("%q %s, sent %d", r.Reason, r.Detail, r.Sent.Load())
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d tunnels", n)
	}
}

// serverFirst: the application speaks to a client that says nothing.
func (by engines) serverFirst(t *testing.T) {
	app := func(c *net.TCPConn) { _, _ = c.Write([]byte("220 ready")); _, _ = io.ReadAll(c) }
	by.paths(t, app, func(t *testing.T, to netip.AddrPort, s *side) {
		c := Connect(t, to)
		b := make([]byte, 9)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "220 ready" {
			t.Fatalf("%q, %v", b, err)
		}
		_ = c.CloseWrite()
		if r := s.d.ended(engine.Outbound, 1)[0]; r.Sent.Load() != 0 || r.Received.Load() != 9 || r.First <= 0 {
			t.Errorf("sent %d, received %d, first %v", r.Sent.Load(), r.Received.Load(), r.First)
		}
	})
}
