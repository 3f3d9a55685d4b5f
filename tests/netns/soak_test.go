package netns

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

// TestSoak changes everything at random under traffic. No connect may fail, and in the end nothing has grown.
func TestSoak(t *testing.T) {
	s := newShop(t, lab.Options{ZtunnelArgs: []string{"--drain-time", "5s"}})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	x := s.traffic(t)
	events := []struct {
		name string
		run  func(*testing.T, string)
	}{
		{"agent killed", s.agentAnew}, {"ztunnel killed", s.replace}, {"ztunnel upgraded", s.upgrade},
		{"controller killed", s.controllerAnew}, {"policy comes and goes", s.policyComesAndGoes},
		{"pod comes and goes", s.podComesAndGoes},
	}
	counts := map[string]int{}
	for end := time.Now().Add(long(4*time.Minute, 12*time.Second)); time.Now().Before(end); {
		e := events[r.IntN(len(events))]
		counts[e.name]++
		e.run(t, []string{"node-a", "node-b"}[r.IntN(2)])
		time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
	}
	t.Logf("%v", counts)
	must(t, lab.WaitEnrolled(ctx(t), s.client, s.near, s.far))
	s.works(t)
	x.nothingRefused(t)
	for _, n := range []string{"node-a", "node-b"} {
		if fds := len(descriptors(t, s.Node(n).Agent().PID())); fds > 200 {
			t.Errorf("the agent of %s has %d descriptors", n, fds)
		}
	}
}

func (s *shop) agentAnew(t *testing.T, node string) {
	must(t, s.Node(node).Agent().Kill())
	must(t, s.Node(node).StartAgent(ctx(t)))
	eventually(t, func() error { return s.active(node) })
	must(t, lab.WaitEnrolled(ctx(t), s.client, s.near, s.far)) // else the next event may take both holders of a listener
}

func (s *shop) upgrade(t *testing.T, node string) {
	old := s.Node(node).Ztunnel()
	_, err := s.Node(node).StartZtunnel(ctx(t))
	must(t, err)
	eventually(t, func() error { return s.active(node) })
	must(t, old.Signal(syscall.SIGTERM))
	if err := old.Wait(ctx(t)); err != nil {
		t.Errorf("old ztunnel of %s: %v", node, err)
	}
	must(t, old.Remove())
}

func (s *shop) controllerAnew(t *testing.T, _ string) {
	must(t, s.Controller().Kill())
	must(t, s.StartController(ctx(t)))
}

func (s *shop) policyComesAndGoes(t *testing.T, _ string) {
	s.authorize(t, "shop", "soak", "near", "DENY", `
  - from: [{source: {namespaces: ["plain"]}}, {source: {notNamespaces: ["shop"]}}]
`)
	eventually(t, func() error { return refused(ctx(t), program(t, s.plainClient), s.near.At(false, portBanner)) })
	s.forgetPolicy(t, "shop", "soak")
	eventually(t, func() error { return answers(ctx(t), program(t, s.plainClient), s.near.At(false, portBanner)) })
}

func (s *shop) podComesAndGoes(t *testing.T, node string) {
	p := s.pod(t, fmt.Sprintf("shop/guest-%d", time.Now().UnixNano()), node)
	must(t, lab.WaitEnrolled(ctx(t), p))
	must(t, s.waitTunnels(ctx(t), p))
	must(t, answers(ctx(t), program(t, s.client), p.At(true, portBanner)))
	must(t, answers(ctx(t), program(t, p), s.far.At(false, portBanner)))
	must(t, p.Delete())
}
