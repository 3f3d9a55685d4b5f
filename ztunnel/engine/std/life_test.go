package std

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
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
		err = unix.Bind(fd, sockaddr(netip.MustParseAddrPort("127.0.0.1:0")))
	}
	if err == nil {
		err = unix.Listen(fd, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	addr, err := localAddr(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c, err := net.DialTimeout("tcp", addr.String(), 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	return addr
}

func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("read: %v, want a reset", err)
	}
}

// TestRemove: every kind of work of the pod ends, and at once.
func TestRemove(t *testing.T) {
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
			m.client.certs.set(m.client.pod.Identity, nil)
			return m.toTunnel()
		},
		"relaying": func(m *mesh) engine.Plan { return m.toTunnel() },
		"plain":    func(m *mesh) engine.Plan { return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: m.app}} },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t, serveTCP(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }))
			asked := make(chan struct{}, 1)
			m.client.d.accepted = func(*engine.Record) engine.Plan { defer func() { asked <- struct{}{} }(); return plan(m) }
			m.start(t)
			c := connect(t, m.out)
			<-asked
			if name == "relaying" || name == "plain" {
				eventually(t, "relays", func() bool { return m.client.live.len() == 1 })
			}
			start := time.Now()
			m.client.Remove(m.client.pod, reason.PodGone)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
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

// TestRemoveServer: the peer's tunnels end, and later ones fail.
func TestRemoveServer(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo)).start(t)
	c := connect(t, m.out)
	roundTrip(t, c)
	m.server.Remove(m.server.pod, reason.PodGone)
	wantReset(t, c)
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.PodGone {
		t.Errorf("server: %q %s", r.Reason, r.Detail)
	}
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.TunnelLost && r.Detail != "reset by the server" {
		t.Errorf("client: %q %s", r.Reason, r.Detail)
	}
}

// TestRemoveDestination: legs of others into the pod end with it.
func TestRemoveDestination(t *testing.T) {
	s := newSide(t, nil, "client")
	app := serveTCP(t, echo)
	dest := newPodOf("dest")
	s.d.accepted = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: dest}}
	}
	to := s.listen(t, engine.Outbound)
	fd, _ := listenFD(t, "127.0.0.1")
	if err := s.Serve(engine.Listener{Pod: dest, Kind: engine.Inbound, FD: fd}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, to)
	roundTrip(t, c)
	s.Remove(dest, reason.PodGone)
	wantReset(t, c)
	if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PodGone {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
	c = connect(t, to)
	_, _ = io.ReadAll(c)
	for _, r := range s.d.ended(engine.Outbound, 2) {
		if r.Reason != reason.PodGone && r.Reason != reason.Unreachable {
			t.Errorf("%q %s", r.Reason, r.Detail)
		}
	}
}

// TestDrain: nothing new, what runs goes on, and the last one's end is the drain's.
func TestDrain(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo)).start(t)
	c := connect(t, m.out)
	roundTrip(t, c)
	drained := make(chan error, 2)
	go func() { drained <- m.server.Drain(t.Context()) }()
	eventually(t, "the peer has left", func() bool {
		for _, p := range m.client.podOf(m.client.pod).pool.list() {
			if p.cc.Room() > 0 {
				return false
			}
		}
		return true
	})
	if c, err := net.Dial("tcp", m.in.String()); err == nil {
		c.Close()
		t.Error("the listener is open")
	}
	roundTrip(t, c)
	go func() { drained <- m.client.Drain(t.Context()) }()
	time.Sleep(20 * time.Millisecond)
	roundTrip(t, c)
	c.Close()
	for range 2 {
		if err := <-drained; err != nil {
			t.Error(err)
		}
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.None {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
	fd, _ := listenFD(t, "127.0.0.1")
	if err := m.client.Serve(engine.Listener{Pod: m.client.pod, FD: fd}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve after Drain: %v", err)
	}
}

// TestDrainCut: what is left when the time is over is cut.
func TestDrainCut(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo)).start(t)
	c := connect(t, m.out)
	roundTrip(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.client.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	wantReset(t, c)
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.Drain {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}

// TestListenerOutlivesEngine: connects queue while nobody serves, and the next engine takes them.
func TestListenerOutlivesEngine(t *testing.T) {
	app := serveTCP(t, echo)
	plan := func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	fd, addr := listenFD(t, "127.0.0.1")
	defer unix.Close(fd)
	dup := func() int {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first, second := newSide(t, nil, "a"), newSide(t, nil, "b")
	first.d.accepted, second.d.accepted = plan, plan
	first.start()
	second.start()
	if err := first.Serve(engine.Listener{Pod: first.pod, Kind: engine.Outbound, FD: dup()}); err != nil {
		t.Fatal(err)
	}
	old := connect(t, addr)
	roundTrip(t, old)
	drained := make(chan error, 1)
	go func() { drained <- first.Drain(t.Context()) }()
	eventually(t, "nothing is accepted", func() bool {
		p := first.podOf(first.pod)
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.listeners) == 0
	})
	c := connect(t, addr)
	if err := second.Serve(engine.Listener{Pod: second.pod, Kind: engine.Outbound, FD: dup()}); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c)
	roundTrip(t, old)
	old.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestServeTwice: a pod whose listeners were made anew.
func TestServeTwice(t *testing.T) {
	s, first := plainSide(t, serveTCP(t, echo))
	second := s.listen(t, engine.Outbound)
	roundTrip(t, connect(t, first))
	roundTrip(t, connect(t, second))
}

func TestServeBadFD(t *testing.T) {
	s := newSide(t, nil, "a").start()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(engine.Listener{Pod: s.pod, FD: fd}); err == nil {
		t.Error("a datagram socket was served")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		t.Error("the descriptor is open")
	}
}

// TestRecheck: a policy that changes ends what it forbids, at both ends, and nothing else.
func TestRecheck(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo))
	var forbidden atomic.Uint32 // port
	m.server.d.rejudge = func(r *engine.Record) (reason.Reason, bool) {
		return reason.PolicyChanged, r.Request.Traceparent == "" || forbidden.Load() == 0
	}
	var n atomic.Int32
	m.client.d.accepted = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		if n.Add(1) == 2 {
			p.Dial.Request.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
		}
		return p
	}
	m.start(t)
	good, bad := connect(t, m.out), connect(t, m.out)
	roundTrip(t, good)
	roundTrip(t, bad)
	m.server.Recheck()
	roundTrip(t, bad)
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

// TestJudgedAgainBeforeRelay: a change between the judgement and the dial's end is not missed.
func TestJudgedAgainBeforeRelay(t *testing.T) {
	m := newMesh(t, serveTCP(t, echo))
	m.server.d.rejudge = func(*engine.Record) (reason.Reason, bool) { return reason.PolicyDeny, false }
	m.start(t)
	refusedConn(t, m)
	if r := m.client.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PeerRefused {
		t.Errorf("client: %q %s", r.Reason, r.Detail)
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.PolicyDeny || m.server.d.established[r.ID] != 0 {
		t.Errorf("server: %q %s", r.Reason, r.Detail)
	}
}

func TestKill(t *testing.T) {
	s, to := plainSide(t, serveTCP(t, echo))
	c, other := connect(t, to), connect(t, to)
	roundTrip(t, c)
	roundTrip(t, other)
	s.Each(func(r *engine.Record) bool {
		if r.Source == addrPort(c.LocalAddr()) {
			s.Kill(r.ID, reason.PolicyChanged)
		}
		return true
	})
	wantReset(t, c)
	roundTrip(t, other)
	if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.PolicyChanged {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
	s.Kill(1<<40, reason.PolicyChanged) // nobody
}

// TestWait: asked again when told, refused when the time is over.
func TestWait(t *testing.T) {
	s := newSide(t, nil, "client")
	app := serveTCP(t, echo)
	ready := make(chan struct{})
	var asked atomic.Int32
	s.d.accepted = func(*engine.Record) engine.Plan {
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
	c := connect(t, to)
	time.AfterFunc(20*time.Millisecond, func() { close(ready) })
	roundTrip(t, c)
	wantReset(t, connect(t, to))
	if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.WorkloadUnknown || r.Detail != "still" {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}
