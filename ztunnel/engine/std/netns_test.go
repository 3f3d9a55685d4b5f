package std

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

const (
	testMark  = 0x7a50000
	testMask  = 0x7ff0000
	testTable = 7391
)

var podAddrs = []netip.Addr{netip.MustParseAddr("10.77.0.5"), netip.MustParseAddr("fd77::5")}

// podNS makes a namespace with what the agent sets up in a pod: addresses, a rule and a table that
// bring marked packets back to lo, and the sysctls that mark answers.
func podNS(t testing.TB) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // unlocked only at home; else the thread ends with the goroutine
		home, err := netsock.OpenHome()
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer home.Close()
		f, err := makeNS()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- result{f, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.f.Close() })
	return r.f
}

func makeNS() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, err
	}
	for _, name := range []string{"ipv4/tcp_fwmark_accept", "ipv4/fwmark_reflect", "ipv6/fwmark_reflect"} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0); err != nil {
			return nil, err
		}
	}
	for _, a := range podAddrs {
		if err := setUp(lo, a); err != nil {
			return nil, fmt.Errorf("set up %s: %w", a, err)
		}
	}
	return os.Open("/proc/thread-self/ns/net")
}

func setUp(lo netlink.Link, a netip.Addr) error {
	bits, all, family := 32, "0.0.0.0/0", netlink.FAMILY_V4
	if a.Is6() {
		bits, all, family = 128, "::/0", netlink.FAMILY_V6
	}
	own := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, bits)}
	if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: own, Flags: unix.IFA_F_NODAD}); err != nil {
		return err
	}
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table, rule.Priority = family, testMark, testTable, 100
	mask := uint32(testMask)
	rule.Mask = &mask
	if err := netlink.RuleAdd(rule); err != nil {
		return err
	}
	_, dst, _ := net.ParseCIDR(all)
	return netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Src: a.AsSlice(), Table: testTable,
		Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Family: family})
}

// listenIn opens a listening socket in the pod's namespace.
func listenIn(t testing.TB, p *pod, a netip.Addr) (int, netip.AddrPort) {
	t.Helper()
	fd, err := p.socket(netsock.FamilyOf(a))
	if err == nil {
		err = unix.Bind(fd, netsock.Sockaddr(netip.AddrPortFrom(a, 0)))
	}
	if err == nil {
		err = unix.Listen(fd, 128)
	}
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netsock.LocalAddr(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, addr
}

// greeter tells each connection what its source address is.
func greeter(t testing.TB, p *pod, a netip.Addr) netip.AddrPort {
	fd, addr := listenIn(t, p, a)
	f := os.NewFile(uintptr(fd), "app")
	ln, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, c.RemoteAddr().String())
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return addr
}

// TestDeliverKeepsSource: the application sees the client's address, and a port that no client's stack
// chooses; a closed port is refused at once; the pod's own address is not forged.
func TestDeliverKeepsSource(t *testing.T) {
	s := newSide(t, nil, "server")
	s.pod.NetNS, s.pod.Mark, s.pod.Addrs = podNS(t), testMark, podAddrs
	var dial atomic.Pointer[engine.Dial]
	s.d.accepted = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: *dial.Load()}
	}
	to := s.listen(t, engine.Inbound)
	p := newPod(s.Engine, s.pod) // for sockets only
	for i, client := range []netip.Addr{netip.MustParseAddr("10.99.1.2"), netip.MustParseAddr("fd99::2")} {
		app := greeter(t, p, podAddrs[i])
		for want, source := range map[netip.Addr]netip.Addr{client: client, podAddrs[i]: podAddrs[i]} {
			dial.Store(&engine.Dial{To: app, Pod: s.pod, Source: source, Timeout: 20 * time.Second})
			c := connect(t, to)
			b, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			seen, err := netip.ParseAddrPort(string(b))
			if err != nil || seen.Addr() != want {
				t.Fatalf("the application sees %q (%v), want %s", b, err, want)
			}
			if source == client && seen.Port() >= 32768 && seen.Port() < 61000 {
				t.Errorf("port %d is in the ephemeral range", seen.Port())
			}
		}
	}
	s.d.ended(engine.Inbound, 4)
	for i, client := range []netip.Addr{netip.MustParseAddr("10.99.1.2"), netip.MustParseAddr("fd99::2")} {
		dial.Store(&engine.Dial{To: netip.AddrPortFrom(podAddrs[i], 1), Pod: s.pod, Source: client, Timeout: 20 * time.Second})
		refusedConn(t, &mesh{out: to})
	}
	refused := 0
	for _, r := range s.d.ended(engine.Inbound, 6) {
		if r.Reason == reason.ConnectRefused {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d refused; %v", refused, s.d.errs)
	}
}

// TestListenInNamespace: accepted in the pod's namespace, dialed in it, and nothing is left in it after
// Remove.
func TestListenInNamespace(t *testing.T) {
	s := newSide(t, nil, "client")
	s.pod.NetNS, s.pod.Mark, s.pod.Addrs = podNS(t), testMark, podAddrs
	var app atomic.Pointer[netip.AddrPort]
	s.d.accepted = func(r *engine.Record) engine.Plan {
		if !s.pod.Owns(r.Source.Addr()) || !s.pod.Owns(r.Dest.Addr()) {
			t.Errorf("%v -> %v", r.Source, r.Dest)
		}
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: *app.Load()}}
	}
	p := newPod(s.start().Engine, s.pod)
	to := greeter(t, p, podAddrs[0])
	app.Store(&to)
	fd, addr := listenIn(t, p, podAddrs[0])
	if err := s.Serve(engine.Listener{Pod: s.pod, Kind: engine.Outbound, FD: fd}); err != nil {
		t.Fatal(err)
	}
	other := newSide(t, nil, "other").start() // to the first engine, a leg of its own would be a loop
	c, err := other.connect(t.Context(), p, engine.Dial{Action: engine.Plain, To: addr}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := netip.ParseAddrPort(string(b[:n])); err != nil || seen.Addr() != podAddrs[0] {
		t.Errorf("the application sees %q", b[:n])
	}
	s.Remove(s.pod, reason.PodGone)
	eventually(t, "the connection is reset", func() bool { // the application had ended its side: only a write tells
		_, err := c.Write(b)
		return isReset(err) || errors.Is(err, unix.EPIPE)
	})
}

// TestThreadsComeHome: no thread that made a pod's socket stays in its namespace.
func TestThreadsComeHome(t *testing.T) {
	s := newSide(t, nil, "a").start()
	s.pod.NetNS = podNS(t)
	p := newPod(s.Engine, s.pod)
	for range 200 {
		fd, err := p.socket(unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	var pod, st unix.Stat_t
	if err := unix.Fstat(int(s.pod.NetNS.Fd()), &pod); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all threads are home", func() bool {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			if unix.Stat("/proc/self/task/"+task.Name()+"/ns/net", &st) == nil && st.Ino == pod.Ino {
				return false
			}
		}
		return true
	})
}
