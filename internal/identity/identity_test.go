package identity_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
)

const (
	web    = "spiffe://cluster.local/ns/shop/sa/web"
	orders = "spiffe://cluster.local/ns/shop/sa/orders"
)

func TestParse(t *testing.T) {
	for uri, ok := range map[string]bool{
		web: true, "spiffe://a-b.c/ns/x/sa/y": true,
		"": false, "https://cluster.local/ns/shop/sa/web": false, "spiffe:///ns/shop/sa/web": false,
		"spiffe://cluster.local/ns//sa/web": false, "spiffe://cluster.local/ns/shop/sa/": false,
		"spiffe://cluster.local/ns/shop/sa/web/x": false, "spiffe://Cluster.local/ns/shop/sa/web": false,
		"spiffe://cluster.local/ns/../sa/web": false, "spiffe://cluster.local/ns/a b/sa/web": false, "spiffe://cluster.local/node/n1": false,
	} {
		id, err := identity.Parse(uri)
		if (err == nil) != ok {
			t.Errorf("Parse(%q): %v", uri, err)
		}
		if ok && id.String() != uri {
			t.Errorf("Parse(%q).String() = %q", uri, id)
		}
	}
}

func TestNodeURI(t *testing.T) {
	td, n, err := identity.ParseNodeURI(identity.NodeURI("cluster.local", "n1"))
	if err != nil || td != "cluster.local" || n != "n1" {
		t.Errorf("%q %q %v", td, n, err)
	}
	if _, _, err := identity.ParseNodeURI(web); !errors.Is(err, identity.ErrNoIdentity) {
		t.Errorf("a workload is taken for a node: %v", err)
	}
}

// connected is both ends of a TCP connection: over net.Pipe an alert and the peer's last flight would
// wait for each other.
func connected(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if b, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if a, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// handshake runs both sides and returns what each said.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	a, b := connected(t)
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Read(make([]byte, 1))
		}
		a.Close()
		done <- err
	}()
	clientErr = c.Handshake()
	if clientErr == nil {
		_, clientErr = c.Write([]byte{1})
	}
	// The server's alert comes after the client's last flight.
	c.SetReadDeadline(time.Now().Add(time.Second))
	if clientErr == nil {
		if _, err := c.Read(make([]byte, 1)); err != nil && strings.Contains(err.Error(), "remote error") {
			clientErr = err
		}
	}
	b.Close()
	return <-done, clientErr
}

func get(c *identity.Cert) func() (*identity.Cert, error) {
	return func() (*identity.Cert, error) { return c, nil }
}

func TestPeersAreCheckedOnBothSides(t *testing.T) {
	ca, other := testca.New(t), testca.New(t)
	now := time.Now()
	stranger := *other.Issue(web) // it trusts us; we do not know its root
	stranger.Roots = ca.Issue(web).Roots
	for name, c := range map[string]struct {
		server, client *identity.Cert
		now            time.Time
		serverErr      error
		clientErr      error
	}{
		"good":                     {ca.Issue(orders), ca.Issue(web), now, nil, nil},
		"client of another domain": {ca.Issue(orders), ca.Issue("spiffe://evil.example/ns/shop/sa/web"), now, identity.ErrTrustDomain, nil},
		"client expired":           {ca.Issue(orders), ca.Issue(web, testca.NotAfter(now.Add(-time.Minute))), now, identity.ErrExpired, nil},
		"client not yet valid":     {ca.Issue(orders), ca.Issue(web, testca.NotBefore(now.Add(time.Minute))), now, identity.ErrExpired, nil},
		"client self-signed":       {ca.Issue(orders), ca.Issue(web, testca.SelfSigned()), now, identity.ErrUntrusted, nil},
		"client of another root":   {ca.Issue(orders), &stranger, now, identity.ErrUntrusted, nil},
		"client with two names":    {ca.Issue(orders), ca.Issue(web, testca.WithURI(orders)), now, identity.ErrNoIdentity, nil},
		"client with no name":      {ca.Issue(orders), ca.Issue(web, testca.WithoutURIs()), now, identity.ErrNoIdentity, nil},
		"server of another root":   {other.Issue(orders), ca.Issue(web), now, nil, identity.ErrUntrusted},
		"server is someone else":   {ca.Issue(web), ca.Issue(web), now, nil, identity.ErrWrongPeer},
		"server expired":           {ca.Issue(orders, testca.NotAfter(now.Add(-time.Minute))), ca.Issue(web), now, nil, identity.ErrExpired},
		"server self-signed":       {ca.Issue(orders, testca.SelfSigned()), ca.Issue(web), now, nil, identity.ErrUntrusted},
		"server with two names":    {ca.Issue(orders, testca.WithURI(web)), ca.Issue(web), now, nil, identity.ErrNoIdentity},
		"both, once time is over":  {ca.Issue(orders), ca.Issue(web), now.Add(2 * time.Hour), nil, identity.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			clock := func() time.Time { return c.now }
			se, ce := handshake(t, identity.ServerConfig(c.server, "cluster.local", clock), identity.ClientConfig(get(c.client), []string{orders}, clock))
			if c.serverErr != nil && !errors.Is(se, c.serverErr) {
				t.Errorf("server said %v, want %v", se, c.serverErr)
			}
			if c.clientErr != nil && !errors.Is(ce, c.clientErr) {
				t.Errorf("client said %v, want %v", ce, c.clientErr)
			}
			if c.serverErr == nil && c.clientErr == nil && (se != nil || ce != nil) {
				t.Errorf("refused: server %v, client %v", se, ce)
			}
		})
	}
}

func TestNoClientCertificateIsRefused(t *testing.T) {
	ca := testca.New(t)
	client := identity.JoinConfig(ca.Issue(web).Roots, []string{orders}, time.Now)
	if se, _ := handshake(t, identity.ServerConfig(ca.Issue(orders), "cluster.local", time.Now), client); se == nil {
		t.Error("a client without a certificate was accepted")
	}
	se, ce := handshake(t, identity.NodeServerConfig(get(ca.Issue(orders)), time.Now), client)
	if se != nil || ce != nil {
		t.Errorf("joining refused: server %v, client %v", se, ce)
	}
}

func TestHybridKeyExchangeIsTheDefault(t *testing.T) {
	ca := testca.New(t)
	var got tls.ConnectionState
	client := identity.ClientConfig(get(ca.Issue(web)), []string{orders}, time.Now)
	check := client.VerifyConnection
	client.VerifyConnection = func(s tls.ConnectionState) error { got = s; return check(s) }
	handshake(t, identity.ServerConfig(ca.Issue(orders), "cluster.local", time.Now), client)
	if got.CurveID != tls.X25519MLKEM768 || got.Version != tls.VersionTLS13 || got.NegotiatedProtocol != "h2" {
		t.Errorf("negotiated %v, version %x, protocol %q", got.CurveID, got.Version, got.NegotiatedProtocol)
	}
}

func TestCSR(t *testing.T) {
	_, csr, err := identity.NewCSR(web)
	if err != nil {
		t.Fatal(err)
	}
	if _, uri, err := identity.ParseCSR(csr); err != nil || uri != web {
		t.Errorf("%q, %v", uri, err)
	}
	bad := append([]byte(nil), csr...)
	bad[len(bad)/2] ^= 1
	if _, _, err := identity.ParseCSR(bad); !errors.Is(err, identity.ErrBadCSR) {
		t.Errorf("a damaged request: %v", err)
	}
	if _, _, err := identity.ParseCSR(append(csr, csr...)); !errors.Is(err, identity.ErrBadCSR) {
		t.Errorf("two requests: %v", err)
	}
}

func TestFromPEM(t *testing.T) {
	ca := testca.New(t)
	key, csr, err := identity.NewCSR(web)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ca.SignCSR(csr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := identity.FromPEM(chain, key)
	if err != nil || !c.Valid(time.Now()) || len(c.RootCerts) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, bad := range [][]string{nil, chain[:1], {chain[0], ""}, {"x", chain[1]}} {
		if _, err := identity.FromPEM(bad, key); !errors.Is(err, identity.ErrBadChain) {
			t.Errorf("chain %.20q: %v", bad, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(web)
	f.Add("spiffe://cluster.local/node/n1")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := identity.Parse(s); err == nil && id.String() != s {
			t.Errorf("%q came back as %q", s, id)
		}
		identity.ParseNodeURI(s)
	})
}

func FuzzCSR(f *testing.F) {
	_, csr, err := identity.NewCSR(web)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(csr)
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, uri, err := identity.ParseCSR(b); err == nil && (c == nil || uri == "") {
			t.Error("accepted without a name")
		}
	})
}
