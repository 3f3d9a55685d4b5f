package resume

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

const web = "spiffe://cluster.local/ns/shop/sa/web"

// world is a node, and what its pods call.
type world struct {
	*Node
	ca   *testca.CA
	time time.Time
}

func newWorld(t *testing.T, on bool) *world {
	w := &world{ca: testca.New(t), time: time.Now()}
	w.Node = NewNode(on, func() time.Time { return w.time })
	return w
}

// own is a certificate that outlives longest.
func (w *world) own() *identity.Cert { return w.ca.Issue(web, testca.WithLife(12*time.Hour)) }

func dial(port int, peers ...string) *engine.Dial {
	return &engine.Dial{To: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)), Peers: peers}
}

// connect is a connection whose peer shows a certificate; it returns what was offered, and brings s.
func connect(p *Pod, own *identity.Cert, d *engine.Dial, peer *identity.Cert, s *tls.ClientSessionState) *tls.ClientSessionState {
	cfg := &tls.Config{VerifyConnection: func(tls.ConnectionState) error { return nil }}
	p.Client(cfg, own, d)
	if cfg.ClientSessionCache == nil {
		return nil
	}
	offered, _ := cfg.ClientSessionCache.Get("")
	_ = cfg.VerifyConnection(tls.ConnectionState{PeerCertificates: chainOf(peer)})
	cfg.ClientSessionCache.Put("", s)
	return offered
}

func session() *tls.ClientSessionState { return &tls.ClientSessionState{} }

// A session is offered once, to whom it was made with, and by the certificate and roots it was made with.
func TestClient(t *testing.T) {
	w := newWorld(t, true)
	p, twin, own := w.Pod(), w.Pod(), w.own()
	a, b := session(), session()
	connect(p, own, dial(1, "x"), own, a)
	for name, got := range map[string]*tls.ClientSessionState{
		"other pod of the identity": connect(twin, own, dial(1, "x"), own, nil),
		"other address":             connect(p, own, dial(2, "x"), own, nil),
		"more peers":                connect(p, own, dial(1, "x", "y"), own, nil),
		"other peers":               connect(p, own, dial(1, "y"), own, nil),
	} {
		if got != nil {
			t.Errorf("%s: offered", name)
		}
	}
	if got := connect(p, own, dial(1, "x"), own, b); got != a {
		t.Errorf("offered %p, want %p", got, a)
	}
	if got := connect(p, own, dial(1, "x"), own, nil); got != b {
		t.Errorf("offered %p, want %p", got, b)
	}
	if got := connect(p, own, dial(1, "x"), own, a); got != nil {
		t.Error("offered twice")
	}
	same := *own // the same leaf and roots in another Cert
	if got := connect(p, &same, dial(1, "x"), own, a); got != a {
		t.Error("not offered with an equal certificate")
	}
	for name, next := range map[string]*identity.Cert{"new leaf": w.own(), "new roots": withRoots(own, testca.New(t))} {
		connect(p, own, dial(1, "x"), own, session())
		if connect(p, next, dial(1, "x"), own, nil) != nil {
			t.Errorf("%s: offered", name)
		}
		if connect(p, own, dial(1, "x"), own, nil) != nil {
			t.Errorf("%s: offered after the old one came back", name)
		}
	}
}

// A session lives while both certificates are good, and for an hour.
func TestClientLife(t *testing.T) {
	w := newWorld(t, true)
	for _, c := range []struct {
		name      string
		own, peer time.Duration
		good, bad time.Duration
	}{
		{"long", 12 * time.Hour, 12 * time.Hour, time.Hour - time.Second, time.Hour},
		{"own ends", 30 * time.Minute, 12 * time.Hour, 24 * time.Minute, 26 * time.Minute},
		{"peer's ends", 12 * time.Hour, 30 * time.Minute, 24 * time.Minute, 26 * time.Minute},
		{"peer's is near its end", 12 * time.Hour, 4 * time.Minute, -1, 0},
	} {
		own := w.ca.Issue(web, testca.WithLife(c.own))
		peer := w.ca.Issue(web, testca.WithLife(c.peer))
		p, start := w.Pod(), w.time
		for after, want := range map[time.Duration]bool{c.good: true, c.bad: false} {
			if after < 0 {
				continue
			}
			connect(p, own, dial(1), peer, session())
			w.time = start.Add(after)
			if got := connect(p, own, dial(1), peer, nil) != nil; got != want {
				t.Errorf("%s: after %s offered %v", c.name, after, got)
			}
			w.time = start
		}
	}
}

// What does not belong to the pod's certificate any more is not kept, also if it comes later.
func TestForgotten(t *testing.T) {
	w := newWorld(t, true)
	own := w.own()
	for name, drop := range map[string]func(*Pod){
		"forget":         (*Pod).Forget,
		"close":          func(p *Pod) { p.Close(); p.Close() },
		"no certificate": func(p *Pod) { p.Keep(nil, w.time) },
		"new leaf":       func(p *Pod) { p.Keep(w.own(), w.time) },
		"new roots":      func(p *Pod) { p.Keep(withRoots(own, testca.New(t)), w.time) },
		"expired":        func(p *Pod) { p.Keep(own, own.Leaf.NotAfter.Add(time.Second)) },
		"old sessions":   func(p *Pod) { p.Keep(own, w.time.Add(longest)) },
	} {
		p := w.Pod()
		connect(p, own, dial(1), own, session())
		p.Keep(own, w.time)
		if p.set == nil || len(p.set.byKey) != 1 {
			t.Fatalf("%s: not kept before", name)
		}
		late := &tls.Config{VerifyConnection: func(tls.ConnectionState) error { return nil }}
		p.Client(late, own, dial(2))
		_ = late.VerifyConnection(tls.ConnectionState{PeerCertificates: chainOf(own)})
		drop(p)
		if p.set != nil && p.set.order.Len() != 0 {
			t.Errorf("%s: kept", name)
		}
		if name != "old sessions" {
			late.ClientSessionCache.Put("", session())
		}
		if connect(p, own, dial(1), own, nil) != nil || connect(p, own, dial(2), own, nil) != nil {
			t.Errorf("%s: offered", name)
		}
	}
}

// The oldest go first; a pod keeps less where there are many, and a node no more than it should.
func TestBounds(t *testing.T) {
	w := newWorld(t, true)
	own := w.own()
	p := w.Pod()
	for i := range 2 * mostOfPod {
		connect(p, own, dial(1, strconv.Itoa(i)), own, session())
	}
	if n := len(p.set.byKey); n != mostOfPod || p.set.order.Len() != n {
		t.Errorf("%d sessions", n)
	}
	if connect(p, own, dial(1, "0"), own, nil) != nil || connect(p, own, dial(1, strconv.Itoa(2*mostOfPod-1)), own, nil) == nil {
		t.Error("not the oldest went")
	}
	for _, c := range []struct{ pods, share int }{{1, 256}, {8, 256}, {16, 128}, {100, 20}, {1000, 8}} {
		w := newWorld(t, true)
		for range c.pods {
			w.Pod()
		}
		if got := w.share(); got != c.share {
			t.Errorf("%d pods: %d sessions each, want %d", c.pods, got, c.share)
		}
	}
	others := make([]*Pod, 63)
	for i := range others {
		others[i] = w.Pod()
	}
	connect(p, own, dial(2), own, session())
	if n := len(p.set.byKey); n != 32 {
		t.Errorf("%d sessions among 64 pods", n)
	}
	for _, o := range others {
		o.Close()
	}
	if w.share() != mostOfPod {
		t.Error("pods that are gone still count")
	}
}

// A peer cannot make us keep much.
func TestLargeSessions(t *testing.T) {
	w := newWorld(t, true)
	p, own := w.Pod(), w.own()
	room := mostKept - len(own.Leaf.Raw)
	for size, kept := range map[int]bool{0: true, room: true, room + 1: false} {
		s, err := tls.NewResumptionState(make([]byte, size), &tls.SessionState{})
		if err != nil {
			t.Fatal(err)
		}
		connect(p, own, dial(1), own, s)
		if got := connect(p, own, dial(1), own, nil) != nil; got != kept {
			t.Errorf("ticket of %d bytes: kept %v", size, got)
		}
	}
}

// serve is the ticket keys that a connection gets; nil: tickets are off.
func (p *Pod) serve(own *identity.Cert) [][32]byte {
	cfg := &tls.Config{SessionTicketsDisabled: true}
	p.Server(cfg, own)
	if cfg.SessionTicketsDisabled {
		return nil
	}
	return slices.Clone(p.set.tickets.keys[:])
}

// Tickets are sealed by keys of one pod, one certificate and one set of roots, for an hour or two.
func TestTickets(t *testing.T) {
	w := newWorld(t, true)
	p, own := w.Pod(), w.own()
	first := p.serve(own)
	w.time = w.time.Add(longest - time.Second)
	if !slices.Equal(first, p.serve(own)) {
		t.Error("keys change early")
	}
	w.time = w.time.Add(2 * time.Second)
	second := p.serve(own)
	if second[0] == first[0] || second[1] != first[0] {
		t.Error("keys do not follow each other")
	}
	w.time = w.time.Add(2 * longest)
	third := p.serve(own)
	for name, next := range map[string]func() [][32]byte{
		"other pod": func() [][32]byte { return w.Pod().serve(own) },
		"new leaf":  func() [][32]byte { return p.serve(w.own()) },
		"new roots": func() [][32]byte { return p.serve(withRoots(own, testca.New(t))) },
		"forget":    func() [][32]byte { p.serve(own); p.Forget(); return p.serve(own) },
		"much later": func() [][32]byte {
			return third
		},
	} {
		for _, k := range next() {
			if k == ([32]byte{}) || slices.Contains(second, k) || slices.Contains(first, k) || name != "much later" && slices.Contains(third, k) {
				t.Errorf("%s: an old key is used", name)
			}
		}
	}
	p.Close()
	if p.serve(own) != nil {
		t.Error("tickets after the end")
	}
}

func TestOff(t *testing.T) {
	w := newWorld(t, false)
	p, own := w.Pod(), w.own()
	connect(p, own, dial(1), own, session())
	if p.serve(own) != nil || connect(p, own, dial(1), own, nil) != nil || p.set != nil {
		t.Error("sessions although they are off")
	}
}

// All at once, for the race detector.
func TestAtOnce(t *testing.T) {
	w := newWorld(t, true)
	p, certs := w.Pod(), []*identity.Cert{w.own(), w.own()}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				own := certs[(i+j)%2]
				connect(p, own, dial(j%5), own, session())
				p.Server(&tls.Config{}, own)
				if j%10 == 0 {
					p.Keep(own, w.time)
				}
				if j%50 == 0 {
					p.Forget()
				}
			}
		})
	}
	wg.Wait()
	p.Close()
}
