package identity_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
)

// resumer has both ends of handshakes resume whatever they can: one cache, one ticket key.
type resumer struct {
	cache          tls.ClientSessionCache
	client, server bool // whether the last handshake was resumed, as the checks of each end saw it
}

func newResumer() *resumer { return &resumer{cache: tls.NewLRUClientSessionCache(1)} }

func (r *resumer) run(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	r.client, r.server = false, false
	client.ServerName, client.ClientSessionCache = "peer", r.cache
	server.SessionTicketsDisabled = false
	server.SetSessionTicketKeys([][32]byte{{1}})
	note := func(cfg *tls.Config, resumed *bool) {
		verify := cfg.VerifyConnection
		cfg.VerifyConnection = func(s tls.ConnectionState) error { *resumed = s.DidResume; return verify(s) }
	}
	note(client, &r.client)
	note(server, &r.server)
	return handshake(t, server, client)
}

// A resumed session is checked like a new one, by either end, against what holds now.
func TestResumedIsChecked(t *testing.T) {
	ca, other := testca.New(t), testca.New(t)
	server, client := ca.Issue(orders, testca.WithLife(time.Hour)), ca.Issue(web, testca.WithLife(time.Hour))
	distrusts := func(c *identity.Cert) *identity.Cert {
		d := *c
		d.RootCerts = other.Issue(web).RootCerts
		d.Roots = identity.Pool(d.RootCerts)
		return &d
	}
	type ends struct {
		server, client *identity.Cert
		want           []string
		domain         string
		now            func() time.Time
	}
	for name, c := range map[string]struct {
		spoil    func(*ends)
		resumed  bool // as far as the end that refuses sees
		byServer error
		byClient error
	}{
		"nothing":                {func(*ends) {}, true, nil, nil},
		"SAN no longer accepted": {func(e *ends) { e.want = []string{web} }, true, nil, identity.ErrWrongPeer},
		"root gone at client":    {func(e *ends) { e.client = distrusts(e.client) }, true, nil, identity.ErrUntrusted},
		"root gone at server":    {func(e *ends) { e.server = distrusts(e.server) }, true, identity.ErrUntrusted, nil},
		"other trust domain":     {func(e *ends) { e.domain = "elsewhere" }, true, identity.ErrTrustDomain, nil},
		"not valid yet":          {func(e *ends) { e.now = later(-2 * time.Hour) }, true, nil, identity.ErrExpired},
		// crypto/tls offers no session of a certificate that has ended: the handshake is a full one.
		"expired": {func(e *ends) { e.now = later(2 * time.Hour) }, false, nil, identity.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			r := newResumer()
			e := ends{server, client, []string{orders}, "cluster.local", time.Now}
			connect := func() (error, error) {
				return r.run(t, identity.ServerConfig(e.server, e.domain, e.now), identity.ClientConfig(get(e.client), e.want, e.now))
			}
			if se, ce := connect(); se != nil || ce != nil || r.client || r.server {
				t.Fatalf("first: server %v, client %v, resumed %v %v", se, ce, r.server, r.client)
			}
			c.spoil(&e)
			se, ce := connect()
			if c.byServer == nil && c.byClient == nil && (se != nil || ce != nil || !r.server || !r.client) {
				t.Errorf("server %v, client %v, resumed %v %v", se, ce, r.server, r.client)
			}
			if c.byServer != nil && (!errors.Is(se, c.byServer) || ce == nil || r.server != c.resumed) {
				t.Errorf("server %v, client %v, resumed %v; want %v", se, ce, r.server, c.byServer)
			}
			if c.byClient != nil && (!errors.Is(ce, c.byClient) || se == nil || r.client != c.resumed) {
				t.Errorf("client %v, server %v, resumed %v; want %v", ce, se, r.client, c.byClient)
			}
		})
	}
}

// A client whose certificate has ended is not let in by its ticket, also if it does not look itself.
func TestExpiredClientDoesNotResume(t *testing.T) {
	ca := testca.New(t)
	server, client := ca.Issue(orders, testca.WithLife(4*time.Hour)), ca.Issue(web, testca.WithLife(time.Hour))
	r := newResumer()
	for _, c := range []struct {
		now func() time.Time
		err error
	}{{time.Now, nil}, {later(30 * time.Minute), nil}, {later(2 * time.Hour), identity.ErrExpired}} {
		se, _ := r.run(t, identity.ServerConfig(server, "cluster.local", c.now), identity.ClientConfig(get(client), []string{orders}, time.Now))
		if !errors.Is(se, c.err) {
			t.Errorf("got %v, want %v", se, c.err)
		}
		if c.err != nil && r.server {
			t.Error("resumed")
		}
	}
}

func later(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }
