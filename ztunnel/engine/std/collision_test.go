package std

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// TestPortCollision: the port first chosen belongs to a connection that the client has with the
// application directly, whose socket answers the SYN elsewhere. The leg is made from another port.
func TestPortCollision(t *testing.T) {
	const taken, free = 20001, 20002
	client := netip.MustParseAddr("10.99.1.2")
	d := enginetest.NewDecider(t)
	e, p := newTestEngine(t, d)
	ln := enginetest.ListenIn(t, p.Pod, p.Addrs[0])
	app := netsock.AddrPort(ln.Addr())
	d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: p.Pod, Source: client}}
	}

	direct, err := e.startAs(p, legs.Tuple{Local: netip.AddrPortFrom(client, taken), Remote: app})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	unmark(t, theirs.(*net.TCPConn))
	vanish(t, direct)

	var tries atomic.Int32
	e.port = func(int) uint16 {
		if tries.Add(1) == 1 {
			return taken
		}
		return free
	}
	fd, addr := enginetest.ListenFD(t, "127.0.0.1")
	if err := e.Serve(engine.Listener{Pod: p.Pod, Kind: engine.Inbound, FD: fd}); err != nil {
		t.Fatal(err)
	}
	c := enginetest.Connect(t, addr)
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
	if _, err := theirs.Read(make([]byte, 1)); !outcome.IsTimeout(err) {
		t.Errorf("the client's own connection: %v", err)
	}
}

// unmark lets a socket's answers leave by the main table, which has no route to the client.
func unmark(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var serr error
	if err := raw.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, 0) }); err != nil || serr != nil {
		t.Fatal(err, serr)
	}
}

// vanish closes a connected socket without a word to its peer.
func vanish(t *testing.T, fd int) {
	t.Helper()
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
}
