package enginetest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// statuses: what the peer answers becomes a reason, and is not tried again.
func (by engines) statuses(t *testing.T) {
	for status, want := range map[int]reason.Reason{400: reason.BadRequest, 401: reason.PeerRefused, 403: reason.PeerRefused, 503: reason.PeerUnavailable, 0: reason.PeerUnavailable} {
		m := by.newMesh(t, ServeTCP(t, Echo))
		m.server.d.Tunnel = func(*engine.Record) engine.Plan {
			return engine.Plan{Action: engine.Refuse, Reason: reason.PolicyDeny, Detail: "by a test", Status: status}
		}
		if status == 0 {
			m.server.d.Tunnel = func(*engine.Record) engine.Plan {
				return engine.Plan{Action: engine.Refuse, Reason: reason.NoEndpoint}
			}
			status = 503
		}
		m.start(t)
		wantRefused(t, m.out)
		r := m.client.d.ended(engine.Outbound, 1)[0]
		err := m.client.d.errs[0]
		if r.Reason != want || err.Status != status || len(m.client.d.errs) != 1 || r.Attempts != 1 {
			t.Errorf("%d: %q, errors %v, attempts %d", status, r.Reason, m.client.d.errs, r.Attempts)
		}
		m.server.d.ended(engine.HBONE, 1)
	}
}

// serverDialFails: a failed delivery is answered 503.
func (by engines) serverDialFails(t *testing.T) {
	m := by.newMesh(t, closedPort(t)).start(t)
	wantRefused(t, m.out)
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.ConnectRefused {
		t.Errorf("server: %q %s", r.Reason, r.Detail)
	}
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PeerUnavailable {
		t.Errorf("client: %q %s", r.Reason, r.Detail)
	}
}

// nextEndpoint: after a failed attempt the Decider names another.
func (by engines) nextEndpoint(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	dead := closedPort(t)
	m.client.d.Accept = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		p.Dial.To = dead
		return p
	}
	m.client.d.Dial = func(r *engine.Record, err *engine.DialError) engine.Plan {
		if err.Reason != reason.ConnectRefused {
			t.Errorf("first attempt: %v", err)
		}
		return m.toTunnel()
	}
	m.start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	c.Close()
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Attempts != 2 || r.Reason != reason.None {
		t.Errorf("attempts %d, %q", r.Attempts, r.Reason)
	}
}

// manyFail: those who wait for one dial fail with it, and not each with its own.
func (by engines) manyFail(t *testing.T) {
	app := ServeTCP(t, Echo)
	m := by.newMesh(t, app)
	var dials atomic.Int32
	m.in = ServeTCP(t, func(c *net.TCPConn) { dials.Add(1); _, _ = io.ReadAll(c) }) // says nothing
	m.client.o.DialTimeout = time.Second
	m.start(t)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() { wantRefused(t, m.out) })
	}
	wg.Wait()
	if n := dials.Load(); n > 15 {
		t.Errorf("%d dials for 30 connections", n)
	}
	for _, r := range m.client.d.ended(engine.Outbound, 30) {
		if r.Reason != reason.ConnectTimeout {
			t.Errorf("%q %s", r.Reason, r.Detail)
		}
	}
}

// badAuthority: a request that cannot be sent fails as one.
func (by engines) badAuthority(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	m.client.d.Accept = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		p.Dial.Request = &hbone.Request{Authority: "no port"}
		return p
	}
	m.start(t)
	wantRefused(t, m.out)
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.BadRequest {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}
