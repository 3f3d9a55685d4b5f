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

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
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

// side is an engine that serves one pod on loopback.
type side struct {
	*Engine // from the first listen on; what is set before is seen by its goroutines
	o       Options
	d       *decider
	certs   *certs
	pod     *engine.Pod
}

func id(sa string) identity.ID {
	return identity.ID{TrustDomain: trustDomain, Namespace: "test", ServiceAccount: sa}
}

// newSide prepares an engine and a pod of the account, with a certificate of ca.
func newSide(t testing.TB, ca *testca.CA, account string) *side {
	s := &side{d: newDecider(t), certs: newCerts(), pod: newPodOf(account)}
	if ca != nil {
		s.certs.set(id(account), ca.Issue(id(account).String()))
	}
	s.o = Options{Decider: s.d, Certs: s.certs, TrustDomain: trustDomain}
	t.Cleanup(func() {
		if s.Engine == nil {
			return
		}
		_ = s.Close()
		u := &s.pod.Usage
		if c, h, n := u.Connections.Load(), u.Handshakes.Load(), u.Tunnels.Load(); c != 0 || h != 0 || n != 0 {
			t.Errorf("pod %s: in use after the end: connections %d, handshakes %d, tunnels %d", account, c, h, n)
		}
		if n := s.live.len(); n != 0 {
			t.Errorf("pod %s: %d records live after the end", account, n)
		}
	})
	return s
}

func newPodOf(account string) *engine.Pod {
	return &engine.Pod{UID: "uid-" + account, Name: account, Namespace: "test", Identity: id(account), Limits: engine.DefaultLimits()}
}

// start makes the engine.
func (s *side) start() *side {
	if s.Engine == nil {
		s.Engine = New(s.o)
	}
	return s
}

// listen serves one more listener and returns its address.
func (s *side) listen(t testing.TB, kind engine.Kind) netip.AddrPort {
	t.Helper()
	s.start()
	fd, addr := listenFD(t, "127.0.0.1")
	if err := s.Serve(engine.Listener{Pod: s.pod, Kind: kind, FD: fd}); err != nil {
		t.Fatal(err)
	}
	return addr
}

func listenFD(t testing.TB, host string) (int, netip.AddrPort) {
	t.Helper()
	a := netip.AddrPortFrom(netip.MustParseAddr(host), 0)
	fd, err := unix.Socket(familyOf(a.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, sockaddr(a))
	}
	if err == nil {
		err = unix.Listen(fd, 1024)
	}
	if err != nil {
		t.Fatal(err)
	}
	addr, err := localAddr(fd)
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
	return addrPort(ln.Addr())
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

// mesh (once started) is a client's side whose outbound connections are tunneled to a server's side, which delivers
// them to app.
type mesh struct {
	ca             *testca.CA
	client, server *side
	out, in        netip.AddrPort
	app            netip.AddrPort
}

func newMesh(t testing.TB, app netip.AddrPort) *mesh {
	ca := testca.New(t)
	m := &mesh{ca: ca, app: app, client: newSide(t, ca, "client"), server: newSide(t, ca, "server")}
	m.client.d.accepted = func(*engine.Record) engine.Plan { return m.toTunnel() }
	m.server.d.connect = func(*engine.Record) engine.Plan { return m.deliver() }
	return m
}

func (m *mesh) start(t testing.TB) *mesh {
	if !m.in.IsValid() {
		m.in = m.server.listen(t, engine.HBONE)
	}
	m.out = m.client.listen(t, engine.Outbound)
	return m
}

func (m *mesh) toTunnel() engine.Plan {
	return engine.Plan{Action: engine.Tunnel, Dial: engine.Dial{To: m.in, Peers: []string{id("server").String()},
		Request: hbone.Request{Authority: m.app.String()}}}
}

func (m *mesh) deliver() engine.Plan {
	return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: m.app, Pod: m.server.pod}}
}

// closedPort returns an address where nobody listens.
func closedPort(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return addrPort(ln.Addr())
}
