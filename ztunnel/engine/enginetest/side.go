package enginetest

import (
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// TrustDomain is that of every identity here.
const TrustDomain = "cluster.local"

// id is the identity of an account.
func id(account string) identity.ID {
	return identity.ID{TrustDomain: TrustDomain, Namespace: "test", ServiceAccount: account}
}

// NewPod makes a pod of the account, in the process's own namespace.
func NewPod(account string) *engine.Pod {
	return &engine.Pod{UID: "uid-" + account, Name: account, Namespace: "test", Identity: id(account), Limits: engine.DefaultLimits()}
}

// side is an engine that serves one pod on loopback.
type side struct {
	engine.Engine // from the first listen on; what is set before is seen by its goroutines
	make          Make
	o             Options
	d             *Decider
	certs         *Certs
	pod           *engine.Pod
}

// newSide prepares an engine and a pod of the account, with a certificate of ca. After the test's end
// nothing may be left of what the pod had.
func newSide(t testing.TB, m Make, ca *testca.CA, account string) *side {
	s := &side{make: m, d: NewDecider(t), certs: NewCerts(), pod: NewPod(account)}
	if ca != nil {
		s.certs.Set(id(account), ca.Issue(id(account).String()))
	}
	s.o = Options{Decider: s.d, Certs: s.certs, TrustDomain: TrustDomain, Resume: true}
	t.Cleanup(func() {
		if s.Engine == nil {
			return
		}
		_ = s.Close()
		u := &s.pod.Usage
		if c, h, n := u.Connections.Load(), u.Handshakes.Load(), u.Tunnels.Load(); c != 0 || h != 0 || n != 0 {
			t.Errorf("pod %s: in use after the end: connections %d, handshakes %d, tunnels %d", account, c, h, n)
		}
		if n := s.live(); n != 0 {
			t.Errorf("pod %s: %d records live after the end", account, n)
		}
		s.d.finished()
	})
	return s
}

// start makes the engine.
func (s *side) start(t testing.TB) *side {
	if s.Engine == nil {
		s.Engine = s.make(t, s.o)
	}
	return s
}

// listen serves one more listener and returns its address.
func (s *side) listen(t testing.TB, kind engine.Kind) netip.AddrPort {
	t.Helper()
	fd, addr := ListenFD(t, "127.0.0.1")
	s.serve(t, kind, fd)
	return addr
}

func (s *side) serve(t testing.TB, kind engine.Kind, fd int) {
	t.Helper()
	if err := s.start(t).Serve(engine.Listener{Pod: s.pod, Kind: kind, FD: fd}); err != nil {
		t.Fatal(err)
	}
}

// live counts the established records.
func (s *side) live() (n int) {
	s.Each(func(*engine.Record) bool { n++; return true })
	return n
}

// mesh (once started) is a client's side whose outbound connections are tunneled to a server's side, which delivers
// them to app.
type mesh struct {
	ca             *testca.CA
	client, server *side
	out, in        netip.AddrPort
	app            netip.AddrPort
}

func (by engines) newMesh(t testing.TB, app netip.AddrPort) *mesh {
	ca := testca.New(t)
	m := &mesh{ca: ca, app: app, client: newSide(t, by.client, ca, "client"), server: newSide(t, by.server, ca, "server")}
	m.client.d.Accept = func(*engine.Record) engine.Plan { return m.toTunnel() }
	m.server.d.Tunnel = func(*engine.Record) engine.Plan { return m.deliver() }
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
		Request: &hbone.Request{Authority: m.app.String()}}}
}

func (m *mesh) deliver() engine.Plan {
	return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: m.app, Pod: m.server.pod}}
}
