package enginetest

import (
	"crypto/tls"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// resuming are the cases of TLS sessions between two engines.
func resuming() []testCase {
	return []testCase{
		{"Resume", engines.resume},
		{"ResumeOff", engines.resumeOff},
		{"ResumeByKey", engines.resumeByKey},
		{"ResumeNewCert", engines.resumeNewCert},
		{"ResumeNewRoots", engines.resumeNewRoots},
		{"ResumeRootRemoved", engines.resumeRootRemoved},
		{"ResumeExpired", engines.resumeExpired},
		{"ResumeDistrust", engines.resumeDistrust},
		{"ResumeOtherServer", engines.resumeOtherServer},
		{"ResumeStolen", engines.resumeStolen},
		{"ResumePlainPeer", engines.resumePlainPeer},
		{"ResumeOpenSSLClient", engines.resumeOpenSSLClient},
		{"ResumeOpenSSLServer", engines.resumeOpenSSLServer},
	}
}

// shakes counts handshakes at one end.
type shakes struct {
	mu            sync.Mutex
	full, resumed int
}

func (s *shakes) add(_, resumed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if resumed {
		s.resumed++
	} else {
		s.full++
	}
}

// resumable is a mesh whose client connects anew whenever it is made to.
type resumable struct {
	*mesh
	wire     *wire
	at       [2]shakes // the client's and the server's
	wantFull int
	wantRes  int
}

func (by engines) newResumable(t testing.TB) *resumable {
	r := &resumable{mesh: by.newMesh(t, ServeTCP(t, Echo))}
	r.client.o.Handshake, r.server.o.Handshake = r.at[0].add, r.at[1].add
	return r
}

func (r *resumable) start(t testing.TB) *resumable {
	t.Helper()
	r.wire = newWire(t, r.server.listen(t, engine.HBONE), nil)
	r.in = r.wire.addr
	r.mesh.start(t)
	return r
}

// again connects anew, and says whether that is to be resumed. The session comes with the first bytes, so
// that it is there when they are answered.
func (r *resumable) again(t testing.TB, resumed bool) {
	t.Helper()
	r.wire.cut()
	Eventually(t, "the connection is gone", func() bool { return r.client.pod.Usage.Tunnels.Load() == 0 })
	r.visit(t, r.out)
	r.want(t, resumed)
}

func (r *resumable) visit(t testing.TB, to netip.AddrPort) {
	t.Helper()
	c := Connect(t, to)
	RoundTrip(t, c)
	c.Close()
}

// want checks one more handshake at both ends.
func (r *resumable) want(t testing.TB, resumed bool) {
	t.Helper()
	if resumed {
		r.wantRes++
	} else {
		r.wantFull++
	}
	for i := range r.at {
		s := &r.at[i]
		Eventually(t, "the handshake is counted", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.full+s.resumed >= r.wantFull+r.wantRes
		})
		if s.full != r.wantFull || s.resumed != r.wantRes {
			t.Fatalf("side %d: %d full and %d resumed handshakes, want %d and %d", i, s.full, s.resumed, r.wantFull, r.wantRes)
		}
	}
}

// issue gives a side another certificate.
func (r *resumable) issue(s *side, opts ...testca.Option) {
	s.certs.Set(s.pod.Identity, r.ca.Issue(s.pod.Identity.String(), opts...))
}

// resume: a client that comes back proves itself by its session, and is who it was.
func (by engines) resume(t *testing.T) {
	r := by.newResumable(t).start(t)
	r.again(t, false)
	for range 5 {
		r.again(t, true)
	}
	for _, in := range r.server.d.ended(engine.HBONE, 6) {
		if in.Peer != id("client") {
			t.Errorf("peer %v", in.Peer)
		}
	}
	if errs := r.client.d.failed(); len(errs) > 0 {
		t.Errorf("failed attempts: %v", errs)
	}
}

// resumeOff: either end alone can do without.
func (by engines) resumeOff(t *testing.T) {
	for name, off := range map[string]func(*resumable) *side{
		"client": func(r *resumable) *side { return r.client },
		"server": func(r *resumable) *side { return r.server },
	} {
		t.Run(name, func(t *testing.T) {
			r := by.newResumable(t)
			off(r).o.Resume = false
			r.start(t)
			r.again(t, false)
			r.again(t, false)
		})
	}
}

// resumeByKey: a session serves only those peers' names for which it was made.
func (by engines) resumeByKey(t *testing.T) {
	r := by.newResumable(t)
	peers := [][]string{{id("server").String()}, {id("server").String(), id("other").String()}, {id("other").String()}}
	var n atomic.Int32
	r.client.d.Accept = func(*engine.Record) engine.Plan {
		p := r.toTunnel()
		p.Dial.Peers = peers[n.Load()]
		return p
	}
	r.start(t)
	r.again(t, false)
	n.Store(1)
	r.again(t, false)
	n.Store(0)
	r.again(t, true)
	n.Store(2)
	r.wire.cut()
	Eventually(t, "the connection is gone", func() bool { return r.client.pod.Usage.Tunnels.Load() == 0 })
	wantRefused(t, r.out)
	if errs := r.client.d.failed(); len(errs) != 1 || errs[0].Reason != reason.WrongPeer {
		t.Errorf("errors %v", errs)
	}
}

// resumeNewCert: with a new certificate at either end, that one is shown.
func (by engines) resumeNewCert(t *testing.T) {
	r := by.newResumable(t).start(t)
	r.again(t, false)
	for _, s := range []*side{r.client, r.server} {
		r.again(t, true)
		r.issue(s)
		r.again(t, false)
	}
	r.again(t, true)
}

// resumeNewRoots: with other roots at either end, the peer is judged by them anew.
func (by engines) resumeNewRoots(t *testing.T) {
	r := by.newResumable(t).start(t)
	next := testca.New(t).Issue("spiffe://x/ns/y/sa/z").RootCerts
	r.again(t, false)
	for _, s := range []*side{r.client, r.server} {
		r.again(t, true)
		own, _ := s.certs.Get(s.pod.Identity)
		more := *own
		more.RootCerts = append(next, own.RootCerts...)
		more.Roots = identity.Pool(more.RootCerts)
		s.certs.Set(s.pod.Identity, &more)
		r.again(t, false)
	}
	r.again(t, true)
}

// resumeRootRemoved: a peer whose root is gone is refused, session or not.
func (by engines) resumeRootRemoved(t *testing.T) {
	for i, name := range []string{"client", "server"} {
		t.Run(name, func(t *testing.T) {
			r := by.newResumable(t).start(t)
			r.again(t, false)
			r.again(t, true)
			s := []*side{r.client, r.server}[i]
			own, _ := s.certs.Get(s.pod.Identity)
			other := *own
			other.RootCerts = testca.New(t).Issue("spiffe://x/ns/y/sa/z").RootCerts
			other.Roots = identity.Pool(other.RootCerts)
			s.certs.Set(s.pod.Identity, &other)
			r.wire.cut()
			Eventually(t, "the connection is gone", func() bool { return r.client.pod.Usage.Tunnels.Load() == 0 })
			wantRefused(t, r.out)
			if errs := r.client.d.failed(); len(errs) == 0 || errs[0].Reason != reason.TLSFailure {
				t.Errorf("errors %v", errs)
			}
		})
	}
}

// clock is time that passes faster.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// resumeExpired: a session ends with the certificate of either end, also if the certificate's successor
// is not there yet.
func (by engines) resumeExpired(t *testing.T) {
	for i, name := range []string{"client", "server"} {
		t.Run(name, func(t *testing.T) {
			r := by.newResumable(t)
			var at clock
			for _, s := range []*side{r.client, r.server} {
				s.o.Now, s.o.CertWait = at.now, 50*time.Millisecond
				r.issue(s, testca.WithLife(24*time.Hour))
			}
			short := []*side{r.client, r.server}[i]
			r.issue(short, testca.WithLife(10*time.Minute))
			r.start(t)
			r.again(t, false)
			r.again(t, true)
			at.pass(11 * time.Minute)
			r.wire.cut()
			Eventually(t, "the connection is gone", func() bool { return r.client.pod.Usage.Tunnels.Load() == 0 })
			wantRefused(t, r.out)
			r.issue(short, testca.WithLife(24*time.Hour))
			r.again(t, false)
			r.again(t, true)
			at.pass(2 * time.Hour)
			r.again(t, false)
		})
	}
}

// resumeDistrust: a pod that no longer allows what ran has its peers prove themselves again.
func (by engines) resumeDistrust(t *testing.T) {
	r := by.newResumable(t)
	var refuse atomic.Bool
	r.server.d.Judge = func(*engine.Record) (reason.Reason, bool) { return reason.PolicyChanged, !refuse.Load() }
	r.start(t)
	r.again(t, false)
	r.again(t, true)
	c := Connect(t, r.out)
	RoundTrip(t, c)
	r.server.Recheck()
	RoundTrip(t, c)
	r.again(t, true)
	c = Connect(t, r.out)
	RoundTrip(t, c)
	refuse.Store(true)
	r.server.Recheck()
	refuse.Store(false)
	r.again(t, false)
}

// resumeOtherServer: a ticket is good at the pod that gave it only, also if another has its address now,
// or its identity.
func (by engines) resumeOtherServer(t *testing.T) {
	r := by.newResumable(t).start(t)
	r.again(t, false)
	r.again(t, true)
	next := newSide(t, by.server, r.ca, "server")
	next.certs = r.server.certs
	next.o.Certs, next.o.Handshake = next.certs, r.at[1].add
	next.d.Tunnel = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: r.app, Pod: next.pod}}
	}
	to := next.listen(t, engine.HBONE)
	r.wire.lead(to)
	r.again(t, false)
	r.again(t, true)
}

// thief is a client's cache that gives what another's client has got.
type thief struct {
	mu  sync.Mutex
	got *tls.ClientSessionState
}

func (c *thief) Get(string) (*tls.ClientSessionState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got, c.got != nil
}

func (c *thief) Put(_ string, s *tls.ClientSessionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != nil {
		c.got = s
	}
}

// resumeStolen: another's ticket is worth nothing without the secret that goes with it.
func (by engines) resumeStolen(t *testing.T) {
	r := by.newResumable(t).start(t)
	to := r.server.listen(t, engine.HBONE)
	var stash thief
	dial := func(account string, cache tls.ClientSessionCache) (*tls.Conn, error) {
		cfg := clientTLS(r.ca, account)
		cfg.ClientSessionCache = cache
		c := tls.Client(Connect(t, to), cfg)
		err := c.Handshake()
		if err == nil {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, err = c.Read(make([]byte, 1)) // SETTINGS, with the ticket before it
		}
		return c, err
	}
	if _, err := dial("client", &stash); err != nil || stash.got == nil {
		t.Fatalf("session %v, error %v", stash.got, err)
	}
	var own thief
	if _, err := dial("other", &own); err != nil || own.got == nil {
		t.Fatalf("session %v, error %v", own.got, err)
	}
	ticket, _, err := stash.got.ResumptionState()
	if err != nil {
		t.Fatal(err)
	}
	_, mine, err := own.got.ResumptionState()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := tls.NewResumptionState(ticket, mine)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := dial("other", &thief{got: forged}); err == nil || c.ConnectionState().DidResume {
		t.Errorf("the ticket of another is taken: %v", err)
	}
	in := r.server.d.ended(engine.HBONE, 1)[0]
	if in.Reason != reason.TLSFailure || in.Request != nil {
		t.Errorf("%q %s", in.Reason, in.Detail)
	}
}

// resumePlainPeer: peers that know no sessions are served as before.
func (by engines) resumePlainPeer(t *testing.T) {
	r := by.newResumable(t).start(t)
	to := r.server.listen(t, engine.HBONE)
	for range 2 {
		cfg := clientTLS(r.ca, "client")
		cfg.SessionTicketsDisabled = true
		c := tls.Client(Connect(t, to), cfg)
		if err := c.Handshake(); err != nil || c.ConnectionState().DidResume {
			t.Errorf("resumed %v: %v", c.ConnectionState().DidResume, err)
		}
		c.Close()
	}
}
