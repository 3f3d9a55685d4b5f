package enginetest

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// blackhole returns an address whose connects neither succeed nor fail: a listener with a full queue.
func blackhole(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = unix.Listen(fd, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	addr := localAddr(t, fd)
	for range 3 {
		c, err := net.DialTimeout("tcp", addr.String(), 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	return addr
}

// remove: every kind of work of the pod ends, and without its time limit.
func (by engines) remove(t *testing.T) {
	hole := blackhole(t)
	for name, plan := range map[string]func(m *mesh) engine.Plan{
		"waiting": func(*mesh) engine.Plan {
			return engine.Plan{Action: engine.Wait, Until: make(chan struct{}), Deadline: time.Now().Add(time.Hour)}
		},
		"dialing":        func(*mesh) engine.Plan { return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: hole}} },
		"dialing tunnel": func(m *mesh) engine.Plan { p := m.toTunnel(); p.Dial.To = hole; return p },
		"handshaking": func(m *mesh) engine.Plan {
			p := m.toTunnel()
			p.Dial.To = m.app
			return p
		},
		"no certificate": func(m *mesh) engine.Plan {
			m.client.certs.Set(m.client.pod.Identity, nil)
			return m.toTunnel()
		},
		"relaying": func(m *mesh) engine.Plan { return m.toTunnel() },
		"plain":    func(m *mesh) engine.Plan { return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: m.app}} },
	} {
		t.Run(name, func(t *testing.T) {
			m := by.newMesh(t, ServeTCP(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }))
			m.client.o.DialTimeout, m.client.o.HandshakeTimeout, m.client.o.CertWait = time.Hour, time.Hour, time.Hour
			asked := make(chan struct{}, 1)
			m.client.d.Accept = func(*engine.Record) engine.Plan { defer func() { asked <- struct{}{} }(); return plan(m) }
			m.start(t)
			c := Connect(t, m.out)
			<-asked
			if name == "relaying" || name == "plain" {
				Eventually(t, "relays", func() bool { return m.client.live() == 1 })
			}
			m.client.Remove(m.client.pod, reason.PodGone)
			if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PodGone {
				t.Errorf("%q %s", r.Reason, r.Detail)
			}
			wantReset(t, c)
			if c, err := net.Dial("tcp", m.out.String()); err == nil {
				c.Close()
				t.Error("the listener is open")
			}
		})
	}
}

// removeServer: the peer's tunnels end, and later ones fail.
func (by engines) removeServer(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	m.server.Remove(m.server.pod, reason.PodGone)
	wantReset(t, c)
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.PodGone {
		t.Errorf("server: %q %s", r.Reason, r.Detail)
	}
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.TunnelLost && r.Detail != engine.ResetByServer {
		t.Errorf("client: %q %s", r.Reason, r.Detail)
	}
}

// removeDestination: legs of others into the pod end with it.
func (by engines) removeDestination(t *testing.T) {
	s := newSide(t, by.client, nil, "client")
	app := ServeTCP(t, Echo)
	dest := NewPod("dest")
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: dest}}
	}
	to := s.listen(t, engine.Outbound)
	fd, _ := ListenFD(t, "127.0.0.1")
	if err := s.Serve(engine.Listener{Pod: dest, Kind: engine.Inbound, FD: fd}); err != nil {
		t.Fatal(err)
	}
	c := Connect(t, to)
	RoundTrip(t, c)
	s.Remove(dest, reason.PodGone)
	wantReset(t, c)
	if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PodGone {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
	wantRefused(t, to)
	for _, r := range s.d.ended(engine.Outbound, 2) {
		if r.Reason != reason.PodGone && r.Reason != reason.Unreachable {
			t.Errorf("%q %s", r.Reason, r.Detail)
		}
	}
}
