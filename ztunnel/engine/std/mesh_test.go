package std

import (
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

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
