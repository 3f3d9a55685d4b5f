package enginetest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// greeter tells each connection in the pod's namespace what its source address is.
func greeter(t testing.TB, p *engine.Pod, a netip.Addr) netip.AddrPort {
	return serve(t, ListenIn(t, p, a), func(c *net.TCPConn) {
		_, _ = io.WriteString(c, c.RemoteAddr().String())
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
}

// greeted reads what a greeter says.
func greeted(c net.Conn) (netip.AddrPort, error) {
	b, err := io.ReadAll(c)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(string(b))
}

// deliverKeepsSource: the application sees the client's address, and a port that no client's stack
// chooses; a closed port is refused at once; the pod's own address is not forged.
func (by engines) deliverKeepsSource(t *testing.T) {
	s := newSide(t, by.client, nil, "server")
	Settle(t, s.pod)
	var dial atomic.Pointer[engine.Dial]
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: *dial.Load()}
	}
	to := s.listen(t, engine.Inbound)
	clients := []netip.Addr{netip.MustParseAddr("10.99.1.2"), netip.MustParseAddr("fd99::2")}
	for i, client := range clients {
		own := PodAddrs()[i]
		app := greeter(t, s.pod, own)
		for _, source := range []netip.Addr{client, own} {
			dial.Store(&engine.Dial{To: app, Pod: s.pod, Source: source, Timeout: 20 * time.Second})
			c := Connect(t, to)
			seen, err := greeted(c)
			c.Close()
			if err != nil || seen.Addr() != source {
				t.Fatalf("the application sees %v (%v), want %s", seen, err, source)
			}
			if source == client && seen.Port() >= 32768 && seen.Port() < 61000 {
				t.Errorf("port %d is in the ephemeral range", seen.Port())
			}
		}
	}
	s.d.ended(engine.Inbound, 4)
	for i, client := range clients {
		dial.Store(&engine.Dial{To: netip.AddrPortFrom(PodAddrs()[i], 1), Pod: s.pod, Source: client, Timeout: 20 * time.Second})
		wantRefused(t, to)
	}
	refused := 0
	for _, r := range s.d.ended(engine.Inbound, 6) {
		if r.Reason == reason.ConnectRefused {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d refused; %v", refused, s.d.failed())
	}
}

// deliverManyPorts: live legs of one client to one application have a port each.
func (by engines) deliverManyPorts(t *testing.T) {
	s := newSide(t, by.client, nil, "server")
	Settle(t, s.pod)
	app := greeter(t, s.pod, PodAddrs()[0])
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: s.pod, Source: netip.MustParseAddr("10.99.1.2")}}
	}
	to := s.listen(t, engine.Inbound)
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[netip.AddrPort]bool{}
	for range 200 {
		c := Connect(t, to)
		wg.Go(func() {
			from, err := greeted(c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || seen[from] {
				t.Errorf("the application sees %v (%v)", from, err)
			}
			seen[from] = true
		})
	}
	wg.Wait()
}

// listenInNamespace: accepted in the pod's namespace, dialed in it, and nothing is left in it after
// Remove.
func (by engines) listenInNamespace(t *testing.T) {
	s := newSide(t, by.client, nil, "client")
	Settle(t, s.pod)
	app := greeter(t, s.pod, PodAddrs()[0])
	s.d.Accept = func(r *engine.Record) engine.Plan {
		if !s.pod.Owns(r.Source.Addr()) || !s.pod.Owns(r.Dest.Addr()) {
			t.Errorf("%v -> %v", r.Source, r.Dest)
		}
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	ln := ListenIn(t, s.pod, PodAddrs()[0])
	s.serve(t, engine.Outbound, dupFD(t, ln))
	to := ln.Addr().String()
	ln.Close()
	var c net.Conn
	if err := Inside(s.pod, func() (err error) { c, err = net.Dial("tcp", to); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := netip.ParseAddrPort(string(b[:n])); err != nil || !s.pod.Owns(seen.Addr()) {
		t.Errorf("the application sees %q", b[:n])
	}
	s.Remove(s.pod, reason.PodGone)
	Eventually(t, "the connection is reset", func() bool { // the application had ended its side: only a write tells
		_, err := c.Write(b)
		return isReset(err) || errors.Is(err, unix.EPIPE)
	})
}

// threadsComeHome: no thread that made a pod's socket stays in its namespace.
func (by engines) threadsComeHome(t *testing.T) {
	s := newSide(t, by.client, nil, "a")
	Settle(t, s.pod)
	app := greeter(t, s.pod, PodAddrs()[0])
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	to := s.listen(t, engine.Outbound)
	var wg sync.WaitGroup
	for range 100 {
		c := Connect(t, to)
		wg.Go(func() {
			if _, err := greeted(c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var pod unix.Stat_t
	if err := unix.Fstat(int(s.pod.NetNS.Fd()), &pod); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "all threads are home", func() bool { return threadsIn(t, pod.Ino) == 0 })
}

func threadsIn(t testing.TB, ns uint64) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/self/task/%s/ns/net", task.Name()), &st) == nil && st.Ino == ns {
			n++
		}
	}
	return n
}
