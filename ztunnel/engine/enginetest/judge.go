package enginetest

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

// recheck: a policy that changes ends what it forbids, at both ends, and nothing else.
func (by engines) recheck(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	var forbidden atomic.Uint32 // port
	m.server.d.Judge = func(r *engine.Record) (reason.Reason, bool) {
		return reason.PolicyChanged, r.Request.Traceparent == "" || forbidden.Load() == 0
	}
	var n atomic.Int32
	m.client.d.Accept = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		if n.Add(1) == 2 {
			p.Dial.Request.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
		}
		return p
	}
	m.start(t)
	good, bad := Connect(t, m.out), Connect(t, m.out)
	RoundTrip(t, good)
	RoundTrip(t, bad)
	m.server.Recheck()
	RoundTrip(t, bad)
	forbidden.Store(1)
	m.server.Recheck()
	_, errs := 0, 0
	for _, c := range []net.Conn{good, bad} {
		if _, err := c.Write([]byte("ping")); err == nil {
			if _, err = io.ReadFull(c, make([]byte, 4)); err == nil {
				continue
			}
		}
		errs++
	}
	if errs != 1 {
		t.Errorf("%d of 2 connections ended", errs)
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.PolicyChanged {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}

// judgedAgainBeforeRelay: a change between the judgement and the dial's end is not missed.
func (by engines) judgedAgainBeforeRelay(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	m.server.d.Judge = func(*engine.Record) (reason.Reason, bool) { return reason.PolicyDeny, false }
	m.start(t)
	wantRefused(t, m.out)
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PeerRefused {
		t.Errorf("client: %q %s", r.Reason, r.Detail)
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.PolicyDeny || m.server.d.established[r.ID] != 0 {
		t.Errorf("server: %q %s", r.Reason, r.Detail)
	}
}

func (by engines) kill(t *testing.T) {
	s, to := by.plainSide(t, ServeTCP(t, Echo))
	c, other := Connect(t, to), Connect(t, to)
	RoundTrip(t, c)
	RoundTrip(t, other)
	s.Each(func(r *engine.Record) bool {
		if r.Source == netsock.AddrPort(c.LocalAddr()) {
			s.Kill(r.ID, reason.PolicyChanged)
		}
		return true
	})
	wantReset(t, c)
	RoundTrip(t, other)
	if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PolicyChanged {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
	s.Kill(1<<40, reason.PolicyChanged) // nobody
}

// wait: asked again when told, refused when the time is over.
func (by engines) wait(t *testing.T) {
	s := newSide(t, by.client, nil, "client")
	app := ServeTCP(t, Echo)
	ready := make(chan struct{})
	var asked atomic.Int32
	s.d.Accept = func(*engine.Record) engine.Plan {
		switch asked.Add(1) {
		case 1:
			return engine.Plan{Action: engine.Wait, Until: ready, Deadline: time.Now().Add(time.Hour)}
		case 2:
			return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
		}
		return engine.Plan{Action: engine.Wait, Until: make(chan struct{}), Deadline: time.Now().Add(20 * time.Millisecond),
			Reason: reason.WorkloadUnknown, Detail: "still"}
	}
	to := s.listen(t, engine.Outbound)
	c := Connect(t, to)
	time.AfterFunc(20*time.Millisecond, func() { close(ready) })
	RoundTrip(t, c)
	wantReset(t, Connect(t, to))
	if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.WorkloadUnknown || r.Detail != "still" {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}
