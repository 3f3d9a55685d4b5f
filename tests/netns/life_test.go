package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// traffic is calls and held connections from the client to both servers, of both families.
type traffic struct {
	calls, held []func(*testing.T) app.Report
}

func (s *shop) traffic(t *testing.T) traffic {
	t.Helper()
	var x traffic
	for _, p := range []*lab.Pod{s.near, s.far} {
		for _, v6 := range []bool{false, true} {
			x.calls = append(x.calls, callsTo(t, s.client, p.At(v6, portBanner)))
			x.held = append(x.held, callsTo(t, s.client, p.At(v6, portEcho), func(a *app.LoopArgs) { a.Held, a.Banner, a.Workers = true, false, 1 }))
		}
	}
	return x
}

// nothingFailed ends the traffic: no call failed, no connection broke.
func (x traffic) nothingFailed(t *testing.T) {
	t.Helper()
	for _, stop := range append(x.calls, x.held...) {
		noneFailed(t, stop(t))
	}
}

// nothingRefused ends the traffic: connections may have broken, but every connect succeeded.
func (x traffic) nothingRefused(t *testing.T) {
	t.Helper()
	for _, stop := range append(x.calls, x.held...) {
		r := stop(t)
		noneRefused(t, r)
		for text, n := range r.Errors {
			if strings.Contains(text, "EOF") {
				t.Errorf("%d connections were cut off and looked ended in order: %s", n, text)
			}
		}
	}
}

// works checks that calls to both servers are answered.
func (s *shop) works(t *testing.T) {
	t.Helper()
	for _, p := range []*lab.Pod{s.near, s.far} {
		for _, v6 := range []bool{false, true} {
			eventually(t, func() error { return answers(ctx(t), program(t, s.client), p.At(v6, portBanner)) })
		}
	}
}

// TestLife kills, stops and replaces the parts of the mesh under traffic.
func TestLife(t *testing.T) {
	s := newShop(t, lab.Options{AgentArgs: []string{"--proxy-absent-after", long("10s", "4s")}})
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"agent SIGKILL and restart", s.agentKilled},
		{"ztunnel SIGKILL and restart", s.ztunnelKilled},
		{"both at once", s.bothKilled},
		{"ztunnel upgraded by SIGTERM", s.upgraded},
		{"ztunnel stopped, then started", s.stopped},
		{"drain time is over", s.drainEnds},
		{"ztunnel gone for long", s.ztunnelGone},
		{"controller away and back", s.controllerAway},
		{"ztunnel restarted without a controller", s.restartedWithoutController},
		{"agent restarted, the newer ztunnel calls first", s.heirCallsFirst},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.works(t)
			s.nothingInPlaintext(t, c.run)
			s.works(t)
		})
	}
}

// nothingInPlaintext watches the fabric while f runs: whatever dies, no call goes out unprotected.
func (s *shop) nothingInPlaintext(t *testing.T, f func(*testing.T)) {
	t.Helper()
	capture, err := s.Node("node-a").CaptureUplink()
	must(t, err)
	f(t)
	trace, err := capture.Stop()
	must(t, err)
	for _, port := range []uint16{portBanner, portEcho} {
		if plain := trace.Port(port).Opening(); len(plain.Segments) > 0 {
			t.Errorf("%d segments in plaintext on the fabric, first %+v", len(plain.Segments), plain.Segments[0])
		}
	}
}

func (s *shop) agentKilled(t *testing.T) {
	x := s.traffic(t)
	for _, n := range []string{"node-a", "node-b"} {
		must(t, s.Node(n).Agent().Kill())
	}
	time.Sleep(time.Second)
	for _, n := range []string{"node-a", "node-b"} {
		must(t, s.Node(n).StartAgent(ctx(t)))
	}
	must(t, lab.WaitEnrolled(ctx(t), s.client, s.near, s.far))
	time.Sleep(time.Second)
	x.nothingFailed(t)
}

// replace kills a node's ztunnel and starts another.
func (s *shop) replace(t *testing.T, node string) {
	t.Helper()
	must(t, s.Node(node).Ztunnel().Remove())
	_, err := s.Node(node).StartZtunnel(ctx(t))
	must(t, err)
}

func (s *shop) ztunnelKilled(t *testing.T) {
	for _, n := range []string{"node-a", "node-b"} {
		t.Run(n, func(t *testing.T) {
			x := s.traffic(t)
			s.replace(t, n)
			time.Sleep(time.Second)
			x.nothingRefused(t)
		})
	}
}

// bothKilled: with both holders of the listeners dead, connects are refused until they are back. All is well
// afterwards.
func (s *shop) bothKilled(t *testing.T) {
	for _, n := range []string{"node-a", "node-b"} {
		t.Run(n, func(t *testing.T) {
			x := s.traffic(t)
			must(t, s.Node(n).Agent().Kill())
			must(t, s.Node(n).Ztunnel().Remove())
			time.Sleep(200 * time.Millisecond)
			must(t, s.Node(n).StartAgent(ctx(t)))
			_, err := s.Node(n).StartZtunnel(ctx(t))
			must(t, err)
			must(t, lab.WaitEnrolled(ctx(t), s.near, s.far))
			s.works(t)
			for _, stop := range append(x.calls, x.held...) {
				stop(t)
			}
		})
	}
}

// upgraded starts a second ztunnel and stops the first: nothing breaks, and old connections live on until
// they end or the drain time is over.
func (s *shop) upgraded(t *testing.T) {
	for _, n := range []string{"node-a", "node-b"} {
		t.Run(n, func(t *testing.T) { s.exchange(t, n) })
	}
}

// exchange puts a newer ztunnel in the place of the one that runs.
func (s *shop) exchange(t *testing.T, node string, extra ...string) {
	x := s.traffic(t)
	held := hold(t, s.client, s.near, s.far)
	old := s.Node(node).Ztunnel()
	_, err := s.Node(node).StartZtunnel(ctx(t), extra...)
	must(t, err)
	eventually(t, func() error { return s.active(node) })
	must(t, old.Signal(syscall.SIGTERM))
	time.Sleep(2 * time.Second)
	pingAll(t, held)
	if !old.Running() {
		t.Error("the old ztunnel ended with connections open")
	}
	for _, stop := range append(x.calls, x.held...) { // the held loops end here too
		noneFailed(t, stop(t))
	}
	closeAll(t, held)
	if err := old.Wait(ctx(t)); err != nil {
		t.Errorf("the old ztunnel, drained: %v", err)
	}
	must(t, old.Remove())
}

// stopped has no successor for a moment: what is new waits, what is old goes on.
func (s *shop) stopped(t *testing.T) {
	for _, n := range []string{"node-a", "node-b"} {
		t.Run(n, func(t *testing.T) {
			x := s.traffic(t)
			old := s.Node(n).Ztunnel()
			must(t, old.Signal(syscall.SIGTERM))
			time.Sleep(time.Second)
			_, err := s.Node(n).StartZtunnel(ctx(t))
			must(t, err)
			time.Sleep(time.Second)
			x.nothingFailed(t)
			if err := old.Wait(ctx(t)); err != nil {
				t.Errorf("the old ztunnel, drained: %v", err)
			}
			must(t, old.Remove())
		})
	}
}

// drainEnds has a connection that outlives the drain time: it is reset, and the log says why.
func (s *shop) drainEnds(t *testing.T) {
	n := s.Node("node-a")
	before := n.Ztunnel()
	brief, err := n.StartZtunnel(ctx(t), "--drain-time", "2s")
	must(t, err)
	eventually(t, func() error { return s.active("node-a") })
	must(t, before.Remove())
	held := hold(t, s.client, s.near, s.far)
	_, err = n.StartZtunnel(ctx(t))
	must(t, err)
	must(t, brief.Signal(syscall.SIGTERM))
	for _, c := range held {
		mustEnd(t, c)
	}
	if err := brief.Wait(ctx(t)); err != nil {
		t.Errorf("the ztunnel whose drain time was over: %v", err)
	}
	must(t, s.logged("node-a", `"drain"`, s.client.Identity()))
	must(t, brief.Remove())
}

// active is nil if the newest ztunnel is the one that the agent gives new pods to.
func (s *shop) active(node string) error {
	st, err := s.Node(node).AgentStatus(ctx(s.t))
	if err != nil {
		return err
	}
	for _, p := range st.Proxies {
		if p.PID == s.Node(node).Ztunnel().PID() && p.Active {
			return nil
		}
	}
	return fmt.Errorf("the newest ztunnel is not the active one: %+v", st.Proxies)
}

// ztunnelGone waits until the agent resets what is queued: no silent black hole.
func (s *shop) ztunnelGone(t *testing.T) {
	must(t, s.Node("node-a").Ztunnel().Remove())
	gone := time.Now()
	both(t, func(t *testing.T, v6 bool) {
		c, err := program(t, s.client).Dial(ctx(t), app.DialArgs{Address: s.far.At(v6, portBanner), Timeout: 30 * time.Second})
		must(t, err) // it is queued
		how, err := c.Ended(ctx(t), 30*time.Second)
		must(t, err)
		t.Logf("%s after %s", how, time.Since(gone).Round(100*time.Millisecond))
		if how != "EOF" && time.Since(gone) > 30*time.Second {
			t.Errorf("a connection without a proxy ended by %s", how)
		}
		must(t, c.Close(ctx(t)))
	})
	st, err := s.Node("node-a").AgentStatus(ctx(t))
	must(t, err)
	if st.Counters["reset_proxy_absent"] == 0 {
		t.Errorf("the agent counts no reset: %v", st.Counters)
	}
	time.Sleep(time.Until(gone.Add(long(60*time.Second, 6*time.Second))))
	_, err = s.Node("node-a").StartZtunnel(ctx(t))
	must(t, err)
}

// controllerAway: traffic goes on, a policy of that time holds once the controller is back.
func (s *shop) controllerAway(t *testing.T) {
	must(t, s.Controller().Kill())
	x := s.traffic(t)
	s.authorize(t, "shop", "it", "far", "DENY", fromClient)
	time.Sleep(2 * time.Second)
	x.nothingFailed(t)
	must(t, s.StartController(ctx(t)))
	eventually(t, func() error { return refused(ctx(t), program(t, s.client), s.far.At(false, portBanner)) })
	s.forgetPolicy(t, "shop", "it")
}

// restartedWithoutController: the new ztunnel lives on the snapshot on disk and its predecessor's keys.
func (s *shop) restartedWithoutController(t *testing.T) {
	must(t, s.Controller().Kill())
	if _, err := os.Stat(filepath.Join(s.Node("node-a").RunDir(), "ztunnel-snapshot")); err != nil {
		t.Error(err)
	}
	time.Sleep(2 * time.Second) // the snapshot is written at most every second
	x := s.traffic(t)
	for _, n := range []string{"node-a", "node-b"} {
		s.replace(t, n)
	}
	s.works(t)
	x.nothingRefused(t)
	must(t, s.StartController(ctx(t)))
}

// heirCallsFirst rolls all at once: a new agent hears of the newer ztunnel before the older one, which has all
// certificates and listeners, and no controller answers. What the newer one cannot do yet waits.
func (s *shop) heirCallsFirst(t *testing.T) {
	for _, n := range []string{"node-a", "node-b"} {
		t.Run(n, func(t *testing.T) {
			must(t, s.Controller().Kill())
			x, node := s.traffic(t), s.Node(n)
			old := node.Ztunnel()
			must(t, old.Signal(syscall.SIGSTOP))
			must(t, node.Agent().Kill())
			must(t, node.StartAgent(ctx(t)))
			_, err := node.LaunchZtunnel(ctx(t))
			must(t, err)
			eventually(t, func() error { return s.active(n) })
			must(t, old.Signal(syscall.SIGCONT))
			time.Sleep(time.Second)
			must(t, old.Signal(syscall.SIGTERM))
			s.works(t)
			x.nothingFailed(t)
			must(t, old.Wait(ctx(t)))
			must(t, old.Remove())
			must(t, s.StartController(ctx(t)))
		})
	}
}

// TestAddressReuse gives a pod's addresses to another identity, as a source and as a destination.
func TestAddressReuse(t *testing.T) {
	s := newShop(t, lab.Options{})
	for _, to := range []string{"near", "far"} {
		s.authorize(t, "shop", "only-"+to, to, "ALLOW", `
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/trusted"]}}]
`)
	}
	trusted := s.pod(t, "shop/trusted", "node-a")
	must(t, lab.WaitEnrolled(ctx(t), trusted))
	eventually(t, func() error { return answers(ctx(t), program(t, trusted), s.far.At(false, portBanner)) })
	held := hold(t, trusted, s.near, s.far)
	if len(held) != 4 {
		t.Fatal("connections of the trusted pod")
	}
	must(t, trusted.Delete())
	heir := s.pod(t, "shop/heir", "node-a", func(p *lab.PodSpec) { p.V4, p.V6 = trusted.V4, trusted.V6 })
	must(t, lab.WaitEnrolled(ctx(t), heir))
	for _, to := range []*lab.Pod{s.near, s.far} {
		both(t, func(t *testing.T, v6 bool) {
			must(t, refused(ctx(t), program(t, heir), to.At(v6, portBanner)))
		})
	}
	t.Run("as a destination", func(t *testing.T) { s.destinationReused(t) })
}

// destinationReused has the client's pooled tunnels lead to an address whose pod is another now.
func (s *shop) destinationReused(t *testing.T) {
	for _, node := range []string{"node-a", "node-b"} {
		t.Run(node, func(t *testing.T) {
			first := s.pod(t, "shop/first", node)
			must(t, lab.WaitEnrolled(ctx(t), first))
			must(t, s.waitTunnels(ctx(t), first))
			held := hold(t, s.client, first)
			must(t, first.Delete())
			for _, c := range held {
				mustEnd(t, c)
			}
			second := s.pod(t, "shop/second", node, func(p *lab.PodSpec) { p.V4, p.V6 = first.V4, first.V6 })
			must(t, lab.WaitEnrolled(ctx(t), second))
			must(t, s.waitTunnels(ctx(t), second))
			both(t, func(t *testing.T, v6 bool) {
				eventually(t, func() error { return answers(ctx(t), program(t, s.client), second.At(v6, portBanner)) })
				b, err := program(t, s.client).Ask(ctx(t), app.DialArgs{Address: second.At(v6, portBanner)})
				must(t, err)
				if b.Name != "shop/second" {
					t.Errorf("banner %+v", b)
				}
			})
			must(t, second.Delete())
		})
	}
}
