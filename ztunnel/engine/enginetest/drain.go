package enginetest

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// drain: nothing new, what runs goes on, and the last one's end is the drain's.
func (by engines) drain(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	idle := dialPeer(t, m.ca, "idle", m.in)
	Eventually(t, "both peers are served", func() bool {
		return m.server.pod.Usage.Tunnels.Load() == 2 && m.server.pod.Usage.Handshakes.Load() == 0
	})
	drained := make(chan error, 2)
	go func() { drained <- m.server.Drain(t.Context()) }()
	Eventually(t, "the peer has left", func() bool { return idle.Room() == 0 })
	if c, err := net.Dial("tcp", m.in.String()); err == nil {
		c.Close()
		t.Error("the listener is open")
	}
	RoundTrip(t, c)
	go func() { drained <- m.client.Drain(t.Context()) }()
	time.Sleep(20 * time.Millisecond)
	RoundTrip(t, c)
	c.Close()
	for range 2 {
		if err := <-drained; err != nil {
			t.Error(err)
		}
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.None {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
	fd, _ := ListenFD(t, "127.0.0.1")
	if err := m.client.Serve(engine.Listener{Pod: m.client.pod, FD: fd}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve after Drain: %v", err)
	}
}

// drainIdle: connections between proxies that carry nothing hold up no drain.
func (by engines) drainIdle(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	c.Close()
	m.client.d.ended(engine.Outbound, 1)
	m.server.d.ended(engine.HBONE, 1)
	dialPeer(t, m.ca, "idle", m.in)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, s := range []*side{m.client, m.server} {
		if err := s.Drain(ctx); err != nil {
			t.Errorf("%s: %v", s.pod.Name, err)
		}
	}
}

// drainCut: what is left when the time is over is cut.
func (by engines) drainCut(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
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

// listenerOutlivesEngine: connects queue while nobody serves, and the next engine takes them.
func (by engines) listenerOutlivesEngine(t *testing.T) {
	app := ServeTCP(t, Echo)
	plan := func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	fd, addr := ListenFD(t, "127.0.0.1")
	defer unix.Close(fd)
	first, second := newSide(t, by.client, nil, "a"), newSide(t, by.client, nil, "b")
	first.d.Accept, second.d.Accept = plan, plan
	first.start(t)
	second.start(t)
	if err := first.Serve(engine.Listener{Pod: first.pod, Kind: engine.Outbound, FD: dup(t, fd)}); err != nil {
		t.Fatal(err)
	}
	old := Connect(t, addr)
	RoundTrip(t, old)
	drained := make(chan error, 1)
	go func() { drained <- first.Drain(t.Context()) }()
	Eventually(t, "nobody listens", func() bool { return copies(t, fd) == 1 })
	c := Connect(t, addr)
	if err := second.Serve(engine.Listener{Pod: second.pod, Kind: engine.Outbound, FD: dup(t, fd)}); err != nil {
		t.Fatal(err)
	}
	RoundTrip(t, c)
	RoundTrip(t, old)
	old.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// serveTwice: a pod whose listeners were made anew.
func (by engines) serveTwice(t *testing.T) {
	s, first := by.plainSide(t, ServeTCP(t, Echo))
	second := s.listen(t, engine.Outbound)
	RoundTrip(t, Connect(t, first))
	RoundTrip(t, Connect(t, second))
}

func (by engines) serveBadFD(t *testing.T) {
	s := newSide(t, by.client, nil, "a").start(t)
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
