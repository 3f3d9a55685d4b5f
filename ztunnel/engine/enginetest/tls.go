package enginetest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// peers: each bad certificate, at either end, is refused by the other with its reason.
func (by engines) peers(t *testing.T) {
	server, client := id("server").String(), id("client").String()
	old := []testca.Option{testca.NotBefore(time.Now().Add(-time.Hour)), testca.NotAfter(time.Now().Add(-time.Minute))}
	foreign := testca.New(t)
	for _, tc := range []struct {
		name           string
		server         func(*testca.CA) *identity.Cert
		client         func(*testca.CA) *identity.Cert
		byClient, byIn reason.Reason
	}{
		{name: "wrong SAN", server: func(ca *testca.CA) *identity.Cert { return ca.Issue(id("other").String()) },
			byClient: reason.WrongPeer, byIn: reason.TLSFailure},
		{name: "two SANs", server: func(ca *testca.CA) *identity.Cert { return ca.Issue(server, testca.WithURI(id("b").String())) },
			byClient: reason.TLSFailure, byIn: reason.TLSFailure},
		{name: "self-signed server", server: func(ca *testca.CA) *identity.Cert { return ca.Issue(server, testca.SelfSigned()) },
			byClient: reason.TLSFailure, byIn: reason.TLSFailure},
		{name: "self-signed client", client: func(ca *testca.CA) *identity.Cert { return ca.Issue(client, testca.SelfSigned()) },
			byClient: reason.TLSFailure, byIn: reason.TLSFailure},
		{name: "client of another trust domain", client: func(ca *testca.CA) *identity.Cert { return ca.Issue("spiffe://evil/ns/test/sa/client") },
			byClient: reason.TLSFailure, byIn: reason.TrustDomain},
		{name: "client without identity", client: func(ca *testca.CA) *identity.Cert { return ca.Issue(client, testca.WithoutURIs()) },
			byClient: reason.TLSFailure, byIn: reason.TLSFailure},
		{name: "client of another root", client: func(ca *testca.CA) *identity.Cert {
			c := *foreign.Issue(client)
			c.Roots = ca.Issue(client).Roots
			return &c
		}, byClient: reason.TLSFailure, byIn: reason.TLSFailure},
		{name: "expired", server: func(ca *testca.CA) *identity.Cert { return ca.Issue(server, old...) },
			byClient: reason.TLSFailure, byIn: reason.IdentityError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := by.newMesh(t, ServeTCP(t, Echo))
			m.server.o.CertWait = 50 * time.Millisecond
			if tc.server != nil {
				m.server.certs.Set(id("server"), tc.server(m.ca))
			}
			if tc.client != nil {
				m.client.certs.Set(id("client"), tc.client(m.ca))
			}
			m.start(t)
			wantRefused(t, m.out)
			r := m.client.d.ended(engine.Outbound, 1)[0]
			if r.Reason != tc.byClient {
				t.Errorf("client: %q (%s), want %q", r.Reason, r.Detail, tc.byClient)
			}
			in := m.server.d.ended(engine.HBONE, 1)[0]
			if in.Reason != tc.byIn || in.Request != nil {
				t.Errorf("server: %q (%s), request %v, want %q", in.Reason, in.Detail, in.Request, tc.byIn)
			}
		})
	}
}

// expiredClient: what the peer must refuse is refused also if the client itself does not look.
func (by engines) expiredClient(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	old := m.ca.Issue(id("client").String(), testca.NotBefore(time.Now().Add(-time.Hour)), testca.NotAfter(time.Now().Add(-time.Minute)))
	c := tls.Client(Connect(t, m.in), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{old.TLS}, NextProtos: []string{"h2"}})
	if err := c.Handshake(); err == nil {
		_, err = c.Read(make([]byte, 1))
		if !isAlert(err) {
			t.Errorf("read: %v, want an alert", err)
		}
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.TLSFailure {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}

// garbage: what is no TLS costs its own connection and nothing else.
func (by engines) garbage(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	const n = 30
	for i := range n {
		g := Connect(t, m.in)
		_, _ = g.Write([]byte("GET / HTTP/1.1\r\n\r\n")[:1+i%18])
		_ = g.CloseWrite()
		_, _ = io.Copy(io.Discard, g)
	}
	bad := 0
	for _, r := range m.server.d.ended(engine.HBONE, n) {
		if r.Reason == reason.TLSFailure && r.Pod == m.server.pod {
			bad++
		}
	}
	if bad != n {
		t.Errorf("%d of %d failed by TLS", bad, n)
	}
	RoundTrip(t, c)
	RoundTrip(t, Connect(t, m.out))
}

// silentPeer: a handshake that never comes ends by its deadline.
func (by engines) silentPeer(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	m.server.o.HandshakeTimeout = 50 * time.Millisecond
	m.start(t)
	c := Connect(t, m.in)
	if _, err := io.ReadAll(c); err != nil && !isReset(err) {
		t.Errorf("read: %v", err)
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.TLSFailure {
		t.Errorf("%q %s", r.Reason, r.Detail)
	}
}

// noCert: without a certificate in time both ends refuse; when it comes, they go on.
func (by engines) noCert(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	sideThatWaits := func(d time.Duration) (*side, netip.AddrPort) {
		s := newSide(t, by.client, nil, "late")
		s.o.CertWait = d
		s.d.Accept = func(*engine.Record) engine.Plan { return m.toTunnel() }
		return s, s.listen(t, engine.Outbound)
	}
	late, to := sideThatWaits(50 * time.Millisecond)
	wantRefused(t, to)
	if r := late.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.IdentityError {
		t.Fatalf("%q %s", r.Reason, r.Detail)
	}
	late, to = sideThatWaits(time.Minute)
	c := Connect(t, to)
	late.certs.Set(id("late"), m.ca.Issue(id("late").String()))
	RoundTrip(t, c)
}

// expiryUnderTraffic: leaves of ten seconds, renewed long before; no connection fails.
func (by engines) expiryUnderTraffic(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	renew := func() {
		for _, s := range []*side{m.client, m.server} {
			now := time.Now()
			s.certs.Set(s.pod.Identity, m.ca.Issue(s.pod.Identity.String(), testca.NotBefore(now.Add(-time.Second)), testca.NotAfter(now.Add(10*time.Second))))
		}
	}
	renew()
	m.start(t)
	long := Connect(t, m.out)
	RoundTrip(t, long)
	end := time.Now().Add(12 * time.Second)
	next := time.Now().Add(time.Second)
	for time.Now().Before(end) {
		if time.Now().After(next) {
			renew()
			next = next.Add(time.Second)
		}
		c := Connect(t, m.out)
		RoundTrip(t, c)
		c.Close()
		time.Sleep(5 * time.Millisecond)
	}
	RoundTrip(t, long)
	dials := 0
	m.client.d.mu.Lock()
	defer m.client.d.mu.Unlock()
	for _, r := range m.client.d.closed {
		if r.Attempt.Handshake > 0 {
			dials++
		}
	}
	if dials < 4 || len(m.client.d.errs) > 0 {
		t.Errorf("%d connections made, failed attempts: %v", dials, m.client.d.errs)
	}
}

// isAlert reports whether the peer ended TLS.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}
