package netns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestDirect checks connections between two pods of a node that the kernel carries.
func TestDirect(t *testing.T) {
	s := newShop(t, lab.Options{SameNode: "direct"})
	t.Run("once allowed, past the proxy", func(t *testing.T) { both(t, s.pastTheProxy) })
	t.Run("told of as ever", s.toldOfDirect)
	t.Run("both see each other as ever", func(t *testing.T) {
		both(t, func(t *testing.T, v6 bool) { s.talk(t, s.client, s.near, v6) })
	})
	t.Run("half-close", func(t *testing.T) { both(t, func(t *testing.T, v6 bool) { halfClose(t, s.client, s.near, v6) }) })
	t.Run("closed port", func(t *testing.T) { both(t, func(t *testing.T, v6 bool) { closedPort(t, s.client, s.near, v6) }) })
	t.Run("reset is passed on", func(t *testing.T) { both(t, func(t *testing.T, v6 bool) { resetPasses(t, s.client, s.near, v6) }) })
	t.Run("another identity is not meant", s.notAllowedForAll)
	t.Run("service", func(t *testing.T) { both(t, s.directService) })
	t.Run("policy ends what runs", s.directPolicy)
	t.Run("a changed label re-judges", s.relabelDirect)
	t.Run("counted like proxied ones", s.countedAlike)
	t.Run("proxy stopped", s.leaseLapses)
	t.Run("agent killed", s.directAgentKilled)
	t.Run("proxy replaced", s.directReplaced)
	t.Run("policy churn", s.directChurn)
	t.Run("address of another pod by now", s.directReused)
}

// flows is how many connections of a node went direct so far.
func (m *mesh) flows(t *testing.T, node string) uint64 {
	t.Helper()
	st, err := m.Node(node).AgentStatus(ctx(t))
	must(t, err)
	return st.Counters["direct_flows"]
}

// direct is nil if a call is answered, and went direct.
func (m *mesh) direct(t *testing.T, from *lab.Pod, address string) error {
	t.Helper()
	before := m.flows(t, from.Node.Name)
	if err := answers(ctx(t), program(t, from), address); err != nil {
		return err
	}
	if m.flows(t, from.Node.Name) == before {
		return fmt.Errorf("a call to %s went through the proxy", address)
	}
	return nil
}

// proxied is nil if a call is answered, and went through the proxy.
func (m *mesh) proxied(t *testing.T, from *lab.Pod, address string) error {
	t.Helper()
	before := m.flows(t, from.Node.Name)
	if err := answers(ctx(t), program(t, from), address); err != nil {
		return err
	}
	if m.flows(t, from.Node.Name) != before {
		return fmt.Errorf("a call to %s went direct", address)
	}
	return nil
}

func (m *mesh) becomesDirect(t *testing.T, from *lab.Pod, addresses ...string) {
	t.Helper()
	for _, a := range addresses {
		eventually(t, func() error { return m.direct(t, from, a) })
	}
}

func (s *shop) pastTheProxy(t *testing.T, v6 bool) {
	to := s.near.At(v6, portBanner)
	must(t, s.proxied(t, s.client, to)) // the first
	s.becomesDirect(t, s.client, to)
	b, err := program(t, s.client).Ask(ctx(t), app.DialArgs{Address: to})
	must(t, err)
	if b.Name != s.near.FullName() {
		t.Errorf("banner %+v", b)
	}
	if v6 {
		return
	}
	mapped := s.flows(t, "node-a")
	_, err = program(t, s.client).Ask(ctx(t), app.DialArgs{Address: to, Mapped: true})
	must(t, err)
	if s.flows(t, "node-a") == mapped {
		t.Error("an IPv4 address through an IPv6 socket goes through the proxy")
	}
}

// toldOfDirect finds a direct connection among the live ones, then in the access log; explain knows of it too.
func (s *shop) toldOfDirect(t *testing.T) {
	s.echoesDirect(t)
	c, err := program(t, s.client).To(ctx(t), s.near.At(false, portEcho))
	must(t, err)
	must(t, c.Ping(ctx(t), make([]byte, 4321)...))
	local := netip.MustParseAddrPort(c.Local)
	x, err := s.outbound(ctx(t), "node-a", s.client, local.Port())
	must(t, err)
	if x.Path != "same_node" || x.Source.Identity != s.client.Identity() || x.Destination.Identity != s.near.Identity() || x.Sent != 4321 || x.Received != 4321 {
		t.Errorf("connection %+v", x)
	}
	must(t, c.Close(ctx(t)))
	eventually(t, func() error {
		return s.logged("node-a", `"src.addr":"`+c.Local+`"`, s.client.Identity(), s.near.Identity(), `"bytes_sent":4321`, `"bytes_recv":4321`, "past the proxy")
	})
	e, err := s.explain(ctx(t), "node-a", "shop/client", "shop/near", portEcho)
	must(t, err)
	if !e.Allowed || e.Path != "same_node" || !strings.Contains(strings.Join(e.Steps, "\n"), "past the proxy") {
		t.Errorf("explanation %+v", e)
	}
}

func (s *shop) notAllowedForAll(t *testing.T) {
	to := s.near.At(false, portBanner)
	second := s.pod(t, "shop/second", "node-a")
	must(t, lab.WaitEnrolled(ctx(t), second))
	must(t, s.waitTunnels(ctx(t), second))
	s.becomesDirect(t, s.client, to)
	s.authorize(t, "shop", "near", "near", "ALLOW", fromClient)
	defer s.clear(t)
	eventually(t, func() error { return refused(ctx(t), program(t, second), to) })
	eventually(t, func() error { return refused(ctx(t), program(t, s.plainClient), to) })
	s.becomesDirect(t, s.client, to)
	must(t, refused(ctx(t), program(t, second), to))
}

func (s *shop) directService(t *testing.T, v6 bool) {
	name := "one"
	if v6 {
		name = "two"
	}
	p := s.backend(t, name+"-a", "node-a", name)
	v := s.service(t, name)
	to := v.At(v6, 80)
	s.becomesDirect(t, s.client, to)
	c, err := program(t, s.client).To(ctx(t), to)
	must(t, err)
	b, err := c.Banner(ctx(t))
	must(t, err)
	if c.Remote != to || b.Name != p.FullName() {
		t.Errorf("getpeername says %s, want %s; banner %+v", c.Remote, to, b)
	}
	must(t, c.Close(ctx(t)))
	q := s.backend(t, name+"-b", "node-a", name)
	eventually(t, func() error {
		before := s.flows(t, "node-a")
		r := s.many(t, to, 40)
		if r.Failed > 0 || r.Names[p.FullName()] == 0 || r.Names[q.FullName()] == 0 || s.flows(t, "node-a") < before+40 {
			return fmt.Errorf("calls %v, errors %v, %d went direct", r.Names, r.Errors, s.flows(t, "node-a")-before)
		}
		return nil
	})
	far := s.backend(t, name+"-c", "node-b", name) // now not all endpoints are here
	eventually(t, func() error {
		before := s.flows(t, "node-a")
		r := s.many(t, to, 40)
		if r.Failed > 0 || r.Names[far.FullName()] == 0 || s.flows(t, "node-a") > before {
			return fmt.Errorf("calls %v, errors %v, %d went direct", r.Names, r.Errors, s.flows(t, "node-a")-before)
		}
		return nil
	})
}

func (s *shop) directPolicy(t *testing.T) {
	defer s.clear(t)
	held := s.holdDirect(t)
	s.authorize(t, "shop", "it", "", "DENY", fromClient)
	for _, c := range held {
		mustEnd(t, c)
	}
	both(t, func(t *testing.T, v6 bool) { must(t, refused(ctx(t), program(t, s.client), s.near.At(v6, portBanner))) })
	s.forgetPolicy(t, "shop", "it")
	held = s.holdDirect(t)
	s.authorize(t, "shop", "other", "", "DENY", `
  - from: [{source: {namespaces: ["elsewhere"]}}]
`)
	s.becomesDirect(t, s.client, s.near.At(false, portBanner))
	pingAll(t, held)
	closeAll(t, held)
	s.forgetPolicy(t, "shop", "other")
}

func (s *shop) relabelDirect(t *testing.T) {
	defer s.clear(t)
	s.echoesDirect(t)
	s.authorize(t, "shop", "it", "locked", "DENY", fromClient)
	held := s.holdDirect(t)
	must(t, s.near.Label("app", "locked"))
	defer func() { must(t, s.near.Label("app", s.near.Name)) }()
	for _, c := range held {
		mustEnd(t, c)
	}
}

// echoesDirect waits until hold's connections from client to near go direct.
func (s *shop) echoesDirect(t *testing.T) {
	t.Helper()
	s.openedDirect(t, s.client, s.near.At(false, portEcho))
	s.openedDirect(t, s.client, s.near.At(true, portEcho))
}

// holdDirect holds connections that go direct, all of them: what changed before may void a verdict between two.
func (s *shop) holdDirect(t *testing.T) (held []*lab.Conn) {
	t.Helper()
	s.echoesDirect(t)
	eventually(t, func() error {
		before := s.flows(t, s.client.Node.Name)
		held = hold(t, s.client, s.near)
		if n := s.flows(t, s.client.Node.Name) - before; n < uint64(len(held)) {
			closeAll(t, held)
			return fmt.Errorf("%d of %d connections went direct", n, len(held))
		}
		return nil
	})
	return held
}

// openedDirect waits until connections of a pod to an address go direct, whatever the server says.
func (s *shop) openedDirect(t *testing.T, from *lab.Pod, address string) {
	t.Helper()
	eventually(t, func() error {
		before := s.flows(t, from.Node.Name)
		c, err := program(t, from).To(ctx(t), address)
		if err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond) // the proxy dials first
		if err := c.Close(ctx(t)); err != nil {
			return err
		}
		if s.flows(t, from.Node.Name) == before {
			return fmt.Errorf("a connection to %s went through the proxy", address)
		}
		return nil
	})
}
