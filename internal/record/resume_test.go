package record

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
	"testing"
)

// resumable is a server's and a client's configuration for sessions; verified
// counts VerifyConnection's calls on both sides.
func resumable(t testing.TB, p *pki) (client, server *tls.Config, verified *atomic.Int32) {
	t.Helper()
	verified = &atomic.Int32{}
	verify := func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("no certificate")
		}
		verified.Add(1)
		return nil
	}
	client, server = p.config(), p.config()
	client.SessionTicketsDisabled, server.SessionTicketsDisabled = false, false
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	server.SetSessionTicketKeys([][32]byte{{1, 2, 3}})
	client.VerifyConnection, server.VerifyConnection = verify, verify
	return client, server, verified
}

// ring connects our client with our server.
func ring(t testing.TB, client, server *tls.Config) (c, s *ours) {
	t.Helper()
	a, b := tcp(t)
	done := make(chan error, 1)
	go func() {
		var err error
		s, err = startOurs(t, b, server, false)
		done <- err
	}()
	c, err := startOurs(t, a, client, true)
	if serr := <-done; err != nil || serr != nil {
		t.Fatalf("client %v, server %v", err, serr)
	}
	if err := c.r.Resume(c.tls); err != nil {
		t.Fatal(err)
	}
	return c, s
}

// exchange sends text both ways between our ends.
func exchange(t testing.TB, c, s *ours) {
	t.Helper()
	for _, way := range [][2]*ours{{c, s}, {s, c}} {
		write(way[0].w, []byte("hello"))
		way[0].flush()
		if got, err := way[1].read(5); string(got) != "hello" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

// Our client resumes with our server, with every check made again.
func TestResumeOurs(t *testing.T) {
	client, server, verified := resumable(t, newPKI(t))
	for i := range 4 {
		c, s := ring(t, client, server)
		if got := c.tls.ConnectionState().DidResume; got != (i > 0) {
			t.Fatalf("connection %d resumed: %v", i, got)
		}
		exchange(t, c, s)
		if n := int(verified.Load()); n != 2*(i+1) {
			t.Fatalf("connection %d: %d checks", i, n)
		}
		if c.r.feed != nil {
			t.Fatal("tickets are still waited for after text")
		}
	}
}

// So do ours with crypto/tls's, in both roles.
func TestResumeStd(t *testing.T) {
	client, server, _ := resumable(t, newPKI(t))
	for _, mine := range []bool{true, false} {
		client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		for i := range 3 {
			me, they := client, server
			if !mine {
				me, they = server, client
			}
			o, peer := pair(t, me, they, mine)
			if mine {
				if err := o.r.Resume(o.tls); err != nil {
					t.Fatal(err)
				}
			}
			talk(t, o, peer, 100)
			if got := peer.ConnectionState().DidResume; got != (i > 0) {
				t.Fatalf("our client %v, connection %d resumed: %v", mine, i, got)
			}
		}
	}
}

// A check that fails refuses a resumed session too, and new ticket keys end the
// sessions made under the old ones.
func TestResumeInvalidated(t *testing.T) {
	client, server, _ := resumable(t, newPKI(t))
	c, s := ring(t, client, server)
	exchange(t, c, s)
	server.SetSessionTicketKeys([][32]byte{{9}})
	c, s = ring(t, client, server)
	exchange(t, c, s)
	if c.tls.ConnectionState().DidResume {
		t.Fatal("resumed under a key that is gone")
	}
	client.VerifyConnection = func(tls.ConnectionState) error { return errors.New("no longer") }
	a, b := tcp(t)
	go func() { _, _ = startOurs(t, b, server, false) }()
	if _, err := startOurs(t, a, client, true); err == nil {
		t.Fatal("a resumed session is not checked")
	}
}

// Without Resume, tickets are dropped and nothing breaks.
func TestTicketsIgnored(t *testing.T) {
	client, server, _ := resumable(t, newPKI(t))
	for range 2 {
		o, peer := pair(t, client, server, true)
		talk(t, o, peer, 100)
		if o.tls.ConnectionState().DidResume {
			t.Fatal("resumed")
		}
	}
}

// Tickets that come in pieces, or late, or that crypto/tls refuses.
func TestResumeOddTickets(t *testing.T) {
	p := newPKI(t)
	client, server, _ := resumable(t, p)
	server.SessionTicketsDisabled = true // we make them
	for name, c := range map[string]struct {
		make func(s *sealer) []byte
		n    int32
		ok   bool
	}{
		"two": {func(s *sealer) []byte { return s.record(typeHandshake, join(ticket(5), ticket(6)), 0) }, 2, true},
		"in pieces": {func(s *sealer) []byte {
			m := ticket(20_000)
			return join(s.record(typeHandshake, m[:10], 0), s.record(typeHandshake, m[10:15_000], 0), s.record(typeHandshake, m[15_000:], 0))
		}, 1, true},
		"after text": {func(s *sealer) []byte {
			return join(s.record(typeText, []byte("x"), 0), s.record(typeHandshake, ticket(5), 0))
		}, 0, true},
		"after new keys": {func(s *sealer) []byte { return join(s.keyUpdate(0), s.record(typeHandshake, ticket(5), 0)) }, 0, true},
		"after user_canceled": {func(s *sealer) []byte {
			return join(s.record(typeAlert, []byte{1, 90}, 0), s.record(typeHandshake, ticket(5), 0))
		}, 1, true},
		"empty ticket": {func(s *sealer) []byte { return s.record(typeHandshake, ticket(0), 0) }, 0, false},
	} {
		cache := &counting{}
		client.ClientSessionCache = cache
		o, _ := pair(t, client, server, true)
		if err := o.r.Resume(o.tls); err != nil {
			t.Fatal(err)
		}
		s := &sealer{o.r.half}
		if _, _, err := open(o.r, c.make(s)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if cache.n.Load() != c.n {
			t.Errorf("%s: %d sessions, want %d", name, cache.n.Load(), c.n)
		}
	}
	o, _ := pair(t, server, client, false)
	if o.r.Resume(o.tls) == nil {
		t.Error("a server resumes")
	}
}

type counting struct{ n atomic.Int32 }

func (*counting) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (c *counting) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.n.Add(1)
	}
}
