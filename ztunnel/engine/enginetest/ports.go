package enginetest

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

// MakePorts makes an engine that takes the ports of legs with a client's address from a function of the
// try, which counts from 0.
type MakePorts func(t testing.TB, o Options, port func(try int) uint16) engine.Engine

// RunPorts tests how an engine chooses the ports of legs with a client's address.
func RunPorts(t *testing.T, m MakePorts) {
	t.Run("InUse", func(t *testing.T) { portsInUse(t, m) })
	t.Run("Collision", func(t *testing.T) { portCollision(t, m) })
}

// portsInUse: live legs of one client to one application have a port each, although few are left.
func portsInUse(t *testing.T, m MakePorts) {
	const n = 20
	var next atomic.Int32 // of n ports each is met again and again
	port := func(int) uint16 { return uint16(20000 + next.Add(1)*7%n) }
	s := newSide(t, func(t testing.TB, o Options) engine.Engine { return m(t, o, port) }, nil, "server")
	Settle(t, s.pod)
	app := greeter(t, s.pod, PodAddrs()[0])
	var client atomic.Pointer[netip.Addr]
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: s.pod, Source: *client.Load()}}
	}
	one, two := netip.MustParseAddr("10.99.1.2"), netip.MustParseAddr("10.99.1.3")
	client.Store(&one)
	to := s.listen(t, engine.Inbound)
	seen := map[netip.AddrPort]bool{}
	for range n {
		from, err := greeted(Connect(t, to))
		if err != nil {
			t.Fatal(err)
		}
		if seen[from] {
			t.Errorf("%s is used twice", from)
		}
		seen[from] = true
	}
	wantRefused(t, to) // one leg more than there are ports
	client.Store(&two)
	if from, err := greeted(Connect(t, to)); err != nil || from.Addr() != two {
		t.Errorf("another client: %v, %v", from, err)
	}
}

// portCollision: the port first chosen belongs to a connection that the client has with the application
// directly, whose socket answers the SYN elsewhere. The leg is made from another port.
func portCollision(t *testing.T, m MakePorts) {
	const taken, free = 20001, 20002
	var tries atomic.Int32
	port := func(int) uint16 {
		if tries.Add(1) == 1 {
			return taken
		}
		return free
	}
	s := newSide(t, func(t testing.TB, o Options) engine.Engine { return m(t, o, port) }, nil, "server")
	Settle(t, s.pod)
	client := netip.MustParseAddr("10.99.1.2")
	ln := ListenIn(t, s.pod, PodAddrs()[0])
	app := netsock.AddrPort(ln.Addr())
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: s.pod, Source: client}}
	}
	theirs := connectDirectly(t, s.pod, netip.AddrPortFrom(client, taken), ln)

	c := Connect(t, s.listen(t, engine.Inbound))
	_ = ln.SetDeadline(time.Now().Add(time.Minute))
	leg, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := netsock.AddrPort(leg.RemoteAddr()); got != netip.AddrPortFrom(client, free) {
		t.Errorf("the application sees %v", got)
	}
	_, _ = io.WriteString(leg, "pong")
	leg.Close()
	if b, err := io.ReadAll(c); err != nil || string(b) != "pong" {
		t.Errorf("%q, %v", b, err)
	}
	if n := tries.Load(); n != 2 {
		t.Errorf("%d ports tried", n)
	}
	_ = theirs.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := theirs.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("the client's own connection: %v", err)
	}
	c.Close()
	if r := s.d.ended(engine.Inbound, 1)[0]; r.Reason != reason.None || r.Attempts != 1 {
		t.Errorf("%q %s, %d attempts", r.Reason, r.Detail, r.Attempts)
	}
}

// connectDirectly returns the application's end of a connection whose client is elsewhere: nobody in the
// namespace has the other end, and there is no way to it.
func connectDirectly(t testing.TB, p *engine.Pod, from netip.AddrPort, ln *net.TCPListener) net.Conn {
	t.Helper()
	fd := -1
	err := Inside(p, func() (err error) {
		if fd, err = netsock.New(unix.AF_INET); err != nil {
			return err
		}
		if err = netsock.SetMark(fd, p.Mark); err != nil {
			return err
		}
		if err = netsock.BindForeign(fd, from); err != nil {
			return err
		}
		return netsock.StartConnect(fd, netsock.AddrPort(ln.Addr()))
	})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	raw, err := theirs.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var serr error // its answers leave by the main table, which has no route to the client
	err = raw.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, 0) })
	if err != nil || serr != nil {
		t.Fatal(err, serr)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil { // closes without a word
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	return theirs
}
