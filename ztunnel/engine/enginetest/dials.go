package enginetest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// dialTimeout: a connect that gets no answer ends by its own deadline, or the engine's.
func (by engines) dialTimeout(t *testing.T) {
	hole := blackhole(t)
	s := newSide(t, by.client, nil, "client")
	s.o.DialTimeout = 50 * time.Millisecond
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: hole}}
	}
	s.d.Dial = func(r *engine.Record, err *engine.DialError) engine.Plan {
		if err.Reason != reason.ConnectTimeout {
			t.Errorf("attempt %d: %v", r.Attempts, err)
		}
		if r.Attempts == 1 {
			return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: hole, Timeout: 30 * time.Millisecond}}
		}
		return engine.Plan{Reason: err.Reason}
	}
	wantRefused(t, s.listen(t, engine.Outbound))
	if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.ConnectTimeout || r.Attempts != 2 || r.Ended < 80*time.Millisecond {
		t.Errorf("%q %s, attempts %d, after %v", r.Reason, r.Detail, r.Attempts, r.Ended)
	}
}

// dialRefused: a closed port is known as such, on every kind of leg.
func (by engines) dialRefused(t *testing.T) {
	closed := closedPort(t)
	s := newSide(t, by.client, nil, "client")
	for i, action := range []engine.Action{engine.Plain, engine.Deliver} {
		s.d.Accept = func(*engine.Record) engine.Plan {
			return engine.Plan{Action: action, Dial: engine.Dial{To: closed, Pod: s.pod}}
		}
		wantRefused(t, s.listen(t, engine.Outbound))
		for _, r := range s.d.ended(engine.Outbound, i+1) {
			if r.Reason != reason.ConnectRefused {
				t.Errorf("%q %s", r.Reason, r.Detail)
			}
		}
	}
}

// ipv6: both legs, and the tunnel between them.
func (by engines) ipv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	m := by.newMesh(t, serve(t, ln, Echo))
	fd, in := ListenFD(t, "::1")
	m.server.serve(t, engine.HBONE, fd)
	m.in = in
	m.start(t)
	fd, out := ListenFD(t, "::1")
	m.client.serve(t, engine.Outbound, fd)
	c := Connect(t, out)
	RoundTrip(t, c)
	c.Close()
	one := netip.IPv6Loopback()
	r := m.client.d.ended(engine.Outbound, 1)[0]
	if r.Source.Addr() != one || r.Dest != out || r.Attempt.Dial.To != in {
		t.Errorf("%v -> %v by %v", r.Source, r.Dest, r.Attempt.Dial.To)
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Source.Addr() != one || r.Dest != in {
		t.Errorf("server: %v -> %v", r.Source, r.Dest)
	}
}

// serverTunnelLimit: a server's pod has a bound for its tunnel connections.
func (by engines) serverTunnelLimit(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	m.server.pod.Limits.Tunnels = 1
	m.start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	wantRefused(t, m.in)
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.Limit || r.Request != nil {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
	RoundTrip(t, c)
}
