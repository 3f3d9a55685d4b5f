package std

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
