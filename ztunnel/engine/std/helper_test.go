package std

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

const trustDomain = "cluster.local"

// decider decides by functions and keeps what it is told. Nil functions allow.
type decider struct {
	accepted, connect func(*engine.Record) engine.Plan
	dialed            func(*engine.Record, *engine.DialError) engine.Plan
	rejudge           func(*engine.Record) (reason.Reason, bool)

	mu          sync.Mutex
	t           testing.TB
	established map[uint64]int
	answered    map[uint64]int
	closed      map[uint64]*engine.Record
	errs        []*engine.DialError
}

func newDecider(t testing.TB) *decider {
	return &decider{t: t, established: map[uint64]int{}, answered: map[uint64]int{}, closed: map[uint64]*engine.Record{}}
}

func (d *decider) Accepted(r *engine.Record) engine.Plan { return d.accepted(r) }
func (d *decider) Connect(r *engine.Record) engine.Plan  { return d.connect(r) }

func (d *decider) Dialed(r *engine.Record, err *engine.DialError) engine.Plan {
	d.mu.Lock()
	d.errs = append(d.errs, err)
	d.mu.Unlock()
	if d.dialed != nil {
		return d.dialed(r, err)
	}
	return engine.Plan{Reason: err.Reason, Detail: err.Error()}
}

func (d *decider) Established(r *engine.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.established[r.ID]++; d.established[r.ID] > 1 || d.closed[r.ID] != nil {
		d.t.Errorf("record %d: Established %d times, or after Closed", r.ID, d.established[r.ID])
	}
}

func (d *decider) Answered(r *engine.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answered[r.ID]++; d.answered[r.ID] > 1 || d.established[r.ID] == 0 {
		d.t.Errorf("record %d: Answered %d times, or before Established", r.ID, d.answered[r.ID])
	}
}

func (d *decider) Closed(r *engine.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed[r.ID] != nil {
		d.t.Errorf("record %d: Closed twice", r.ID)
	}
	d.closed[r.ID] = r
}

func (d *decider) Rejudge(r *engine.Record) (reason.Reason, bool) {
	if d.rejudge != nil {
		return d.rejudge(r)
	}
	return reason.None, true
}

// ended returns the closed records once there are n of the kind.
func (d *decider) ended(kind engine.Kind, n int) []*engine.Record {
	d.t.Helper()
	var out []*engine.Record
	eventually(d.t, "records are closed", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		out = out[:0]
		for _, r := range d.closed {
			if r.Kind == kind {
				out = append(out, r)
			}
		}
		return len(out) >= n
	})
	if len(out) != n {
		d.t.Fatalf("%d %s records closed, want %d", len(out), kind, n)
	}
	return out
}

// certs gives out what is in it.
type certs struct {
	mu    sync.Mutex
	byID  map[identity.ID]*identity.Cert
	again chan struct{}
}

func newCerts() *certs {
	return &certs{byID: map[identity.ID]*identity.Cert{}, again: make(chan struct{})}
}

func (c *certs) Get(id identity.ID) (*identity.Cert, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cert := c.byID[id]; cert != nil {
		return cert, nil
	}
	return nil, c.again
}

func (c *certs) set(id identity.ID, cert *identity.Cert) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byID[id] = cert
	close(c.again)
	c.again = make(chan struct{})
}

func listenFD(t testing.TB, host string) (int, netip.AddrPort) {
	t.Helper()
	a := netip.AddrPortFrom(netip.MustParseAddr(host), 0)
	fd, err := unix.Socket(netsock.FamilyOf(a.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, netsock.Sockaddr(a))
	}
	if err == nil {
		err = unix.Listen(fd, 1024)
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

// serveTCP runs f for each connection, which it closes, and returns the address.
func serveTCP(t testing.TB, f func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				defer c.Close()
				f(c.(*net.TCPConn))
			})
		}
	})
	return netsock.AddrPort(ln.Addr())
}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

func connect(t testing.TB, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// closedPort returns an address where nobody listens.
func closedPort(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netsock.AddrPort(ln.Addr())
}
