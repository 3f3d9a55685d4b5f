package loop

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
)

// TestAcceptedAreLegs: what waited before anybody served, and what came later, ends by a reset if this
// process dies.
func TestAcceptedAreLegs(t *testing.T) {
	s := newSide(t, testca.New(t), "client")
	app := enginetest.ServeTCP(t, enginetest.Echo)
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	fd, to := enginetest.ListenFD(t, "127.0.0.1")
	first := enginetest.Connect(t, to)
	if err := s.Serve(engine.Listener{Pod: s.pod, Kind: engine.Outbound, FD: fd}); err != nil {
		t.Fatal(err)
	}
	exchange(t, first, 10)
	second := enginetest.Connect(t, to)
	exchange(t, second, 10)
	for _, c := range []net.Conn{first, second} {
		if !endsByReset(t, s, c) {
			t.Errorf("the leg of %v ends in order by itself", c.LocalAddr())
		}
	}
}

// endsByReset asks the accepted socket, and the one that was made.
func endsByReset(t *testing.T, s *side, c net.Conn) bool {
	t.Helper()
	found, all := false, true
	for f := range s.flows.all() {
		f.w.Load().await(func() {
			if f.ended || f.view(&engine.Record{}).Source.String() != c.LocalAddr().String() {
				return
			}
			found = true
			for _, fd := range []int{int(f.from.fd), int(f.to.fd)} {
				l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
				all = all && err == nil && l.Onoff == 1 && l.Linger == 0
			}
		})
	}
	return found && all
}

// TestAcceptTurns: of a crowd at the door only some come in before what they ask for is sent.
func TestAcceptTurns(t *testing.T) {
	s := newSide(t, testca.New(t), "client")
	app := enginetest.ServeTCP(t, enginetest.Echo)
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	fd, to := enginetest.ListenFD(t, "127.0.0.1")
	var all []net.Conn
	for range 2*acceptTurn + 1 {
		all = append(all, enginetest.Connect(t, to))
	}
	l, err := s.newListener(engine.Listener{Pod: s.pod, Kind: engine.Outbound, FD: fd})
	if err != nil {
		t.Fatal(err)
	}
	l.p.w.await(func() {
		l.Run()
		if n := s.lastID.Load(); n != acceptTurn || !l.again {
			t.Errorf("%d are accepted, another turn: %v", n, l.again)
		}
	})
	for _, c := range all {
		exchange(t, c, 10)
	}
	l.p.w.await(l.close)
}
