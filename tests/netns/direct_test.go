package netns

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestDirect checks connections between two pods of a node that the kernel carries.
func TestDirect(t *testing.T) {
	s := newShop(t, lab.Options{SameNode: "direct"})
	t.Run("once allowed, past the proxy", func(t *testing.T) { both(t, s.pastTheProxy) })
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
	s.echoesDirect(t)
	held := hold(t, s.client, s.near)
	s.authorize(t, "shop", "it", "", "DENY", fromClient)
	for _, c := range held {
		mustEnd(t, c)
	}
	both(t, func(t *testing.T, v6 bool) { must(t, refused(ctx(t), program(t, s.client), s.near.At(v6, portBanner))) })
	s.forgetPolicy(t, "shop", "it")
	s.echoesDirect(t)
	held = hold(t, s.client, s.near)
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
	s.echoesDirect(t)
	held := hold(t, s.client, s.near)
	must(t, s.near.Label("app", "locked"))
	defer func() { must(t, s.near.Label("app", s.near.Name)) }()
	for _, c := range held {
		mustEnd(t, c)
	}
}

// countedAlike makes the same calls direct and, for a policy that is only tried, through the proxy: every series
// must grow alike, labels and all.
func (s *shop) countedAlike(t *testing.T) {
	long(both, func(t *testing.T, f func(*testing.T, bool)) { f(t, true) })(t, func(t *testing.T, v6 bool) {
		client := s.pod(t, fmt.Sprintf("shop/counted-%v", v6), "node-a", func(p *lab.PodSpec) { p.ServiceAccount = "counted" })
		must(t, lab.WaitEnrolled(ctx(t), client))
		must(t, s.waitTunnels(ctx(t), client))
		for _, port := range []int{portEcho, portSink, portBulk, portBanner} {
			s.openedDirect(t, client, s.near.At(v6, port))
		}
		flows := s.flows(t, "node-a")
		direct := s.grown(t, client, func() { exercise(t, client, s.near, v6) })
		if got := s.flows(t, "node-a") - flows; got != exercises {
			t.Errorf("%d connections went direct, want %d", got, exercises)
		}
		must(t, s.Apply("policy-tried", `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tried, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec:
  action: DENY
  rules: [{from: [{source: {serviceAccounts: ["shop/counted"]}}]}]
`))
		defer func() { must(t, s.Remove("policy-tried")) }()
		eventually(t, func() error { return s.proxied(t, client, s.near.At(v6, portBanner)) })
		proxied := s.grown(t, client, func() { exercise(t, client, s.near, v6) })
		if !maps.Equal(direct, proxied) || len(direct) < 8 {
			t.Errorf("series of direct connections have grown by\n%v\nof proxied ones by\n%v", direct, proxied)
		}
	})
}

// exercises is how many connections exercise makes.
const exercises = 7

func exercise(t *testing.T, from, to *lab.Pod, v6 bool) {
	t.Helper()
	for i := range 3 {
		c, err := program(t, from).To(ctx(t), to.At(v6, portEcho))
		must(t, err)
		must(t, c.Ping(ctx(t), make([]byte, 1+i*5000)...))
		must(t, c.Close(ctx(t)))
	}
	c, err := program(t, from).To(ctx(t), to.At(v6, portSink)) // half-close by the client first
	must(t, err)
	must(t, c.Write(ctx(t), []byte("hello")))
	must(t, c.CloseWrite(ctx(t)))
	_, err = c.Read(ctx(t), -1)
	must(t, err)
	must(t, c.Close(ctx(t)))
	must(t, answers(ctx(t), program(t, from), to.At(v6, portBanner)))
	bulk(t, from, to, v6, 1<<20)
	held, err := program(t, from).To(ctx(t), to.At(v6, portEcho)) // runs on
	must(t, err)
	must(t, held.Ping(ctx(t), make([]byte, 777)...))
}

// grown is by how much the series between two pods have grown, once they have come to rest.
func (s *shop) grown(t *testing.T, client *lab.Pod, f func()) map[string]float64 {
	t.Helper()
	before := s.settled(t, client)
	f()
	out := s.settled(t, client)
	for k, v := range before {
		if out[k] -= v; out[k] == 0 {
			delete(out, k)
		}
	}
	return out
}

// settled are the series of a client once nothing grows any more from one reading of the proxy's to the next.
func (s *shop) settled(t *testing.T, client *lab.Pod) map[string]float64 {
	t.Helper()
	var last map[string]float64
	eventuallyWithin(t, time.Minute, func() error {
		now := map[string]float64{}
		b, err := s.Node("node-a").GetZtunnel(ctx(t), "/metrics")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if series, value, ok := strings.Cut(line, "} "); ok && strings.HasPrefix(series, "istio_tcp_") && strings.Contains(series, client.Identity()) {
				var v float64
				_, err = fmt.Sscan(value, &v)
				now[series] = v
			}
		}
		if err == nil && last == nil || !maps.Equal(last, now) {
			err = errors.New("still growing")
		}
		last = now
		if err != nil {
			time.Sleep(6 * time.Second)
		}
		return err
	})
	return last
}

// echoesDirect waits until hold's connections from client to near go direct.
func (s *shop) echoesDirect(t *testing.T) {
	t.Helper()
	s.openedDirect(t, s.client, s.near.At(false, portEcho))
	s.openedDirect(t, s.client, s.near.At(true, portEcho))
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

func (s *shop) leaseLapses(t *testing.T) {
	to := s.near.At(false, portBanner)
	s.becomesDirect(t, s.client, to)
	held := hold(t, s.client, s.near)
	z := s.Node("node-a").Ztunnel()
	must(t, z.Signal(unix.SIGSTOP))
	resume := func() { must(t, z.Signal(unix.SIGCONT)) }
	defer resume()
	eventually(t, func() error {
		before := s.flows(t, "node-a")
		_, err := program(t, s.client).Ask(ctx(t), app.DialArgs{Address: to, Timeout: 500 * time.Millisecond})
		if err == nil || s.flows(t, "node-a") != before {
			return fmt.Errorf("a call went past a proxy that is stopped: %v", err)
		}
		return nil
	})
	pingAll(t, held[:0])
	resume()
	s.becomesDirect(t, s.client, to)
	closeAll(t, held)
}

func (s *shop) directAgentKilled(t *testing.T) {
	to := s.near.At(true, portBanner)
	s.echoesDirect(t)
	s.becomesDirect(t, s.client, to)
	held := hold(t, s.client, s.near)
	calls := callsTo(t, s.client, to)
	must(t, s.Node("node-a").Agent().Kill())
	time.Sleep(time.Second)
	must(t, s.Node("node-a").StartAgent(ctx(t)))
	must(t, lab.WaitEnrolled(ctx(t), s.client, s.near))
	s.becomesDirect(t, s.client, to)
	noneFailed(t, calls(t))
	pingAll(t, held)
	s.authorize(t, "shop", "it", "", "DENY", fromClient) // the new agent knows the flows of the old one
	defer s.clear(t)
	for _, c := range held {
		mustEnd(t, c)
	}
}

func (s *shop) directReplaced(t *testing.T) {
	to := s.near.At(false, portBanner)
	s.echoesDirect(t)
	held := hold(t, s.client, s.near)
	s.replace(t, "node-a")
	must(t, s.waitTunnels(ctx(t), s.client, s.near))
	pingAll(t, held)
	s.becomesDirect(t, s.client, to)
	pingAll(t, held)
	s.authorize(t, "shop", "it", "", "DENY", fromClient) // the new proxy knows the flows of the old one
	defer s.clear(t)
	for _, c := range held {
		mustEnd(t, c)
	}
}

// directChurn changes policy under calls of one who may always, and of one who may never after the first.
func (s *shop) directChurn(t *testing.T) {
	defer s.clear(t)
	to := s.near.At(false, portBanner)
	s.becomesDirect(t, s.client, to)
	may := callsTo(t, s.client, to)
	for i := range 30 {
		s.authorize(t, "shop", "it", "", "DENY", fmt.Sprintf(`
  - from: [{source: {namespaces: ["elsewhere-%d"]}}]
`, i))
		time.Sleep(50 * time.Millisecond)
	}
	noneFailed(t, may(t))
	for range 5 {
		s.forgetPolicy(t, "shop", "it")
		s.becomesDirect(t, s.client, to)
		s.authorize(t, "shop", "it", "", "DENY", fromClient)
		eventually(t, func() error { return refused(ctx(t), program(t, s.client), to) })
		for range 20 { // once refused, always refused
			must(t, refused(ctx(t), program(t, s.client), to))
		}
	}
}

// directReused gives an address to a pod of another identity that the client may not call.
func (s *shop) directReused(t *testing.T) {
	s.authorize(t, "shop", "heir", "heir", "ALLOW", `
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/nobody"]}}]
`)
	defer s.forgetPolicy(t, "shop", "heir")
	for i := range 3 {
		old := s.pod(t, fmt.Sprintf("shop/old-%d", i), "node-a")
		must(t, lab.WaitEnrolled(ctx(t), old))
		must(t, s.waitTunnels(ctx(t), old))
		both(t, func(t *testing.T, v6 bool) { s.becomesDirect(t, s.client, old.At(v6, portBanner)) })
		calls := callsTo(t, s.client, old.At(false, portBanner), func(l *app.LoopArgs) { l.Dial.Timeout = time.Second })
		must(t, old.Delete())
		heir := s.pod(t, fmt.Sprintf("shop/heir-%d", i), "node-a", func(p *lab.PodSpec) {
			p.V4, p.V6, p.Labels = old.V4, old.V6, map[string]string{"app": "heir"}
		})
		must(t, lab.WaitEnrolled(ctx(t), heir))
		flows := s.flows(t, "node-a")
		must(t, s.waitTunnels(ctx(t), heir))
		both(t, func(t *testing.T, v6 bool) {
			eventually(t, func() error { return refused(ctx(t), program(t, s.client), heir.At(v6, portBanner)) })
			must(t, refused(ctx(t), program(t, s.client), heir.At(v6, portBanner)))
		})
		calls(t) // an heir that is not enrolled yet answers, as it would without a mesh
		if now := s.flows(t, "node-a"); now != flows {
			t.Errorf("%d connections went direct to the heir", now-flows)
		}
		must(t, heir.Delete())
	}
}
