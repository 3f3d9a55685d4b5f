package enginetest

import (
	"crypto/tls"
	"sync"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

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
		err := c.HandshakeContext(t.Context())
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
