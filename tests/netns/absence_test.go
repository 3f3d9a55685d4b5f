package netns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestAbsence changes the world while a part of the mesh is away.
func TestAbsence(t *testing.T) {
	s := newShop(t, lab.Options{})
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"a pod goes and its address is reused while the agent is down", s.reusedWithoutAgent},
		{"a label goes while the agent is down", s.unlabelledWithoutAgent},
		{"a label goes while ztunnel is down", s.unlabelledWithoutZtunnel},
		{"a label comes while ztunnel is down", s.labelledWithoutZtunnel},
		{"a pod comes while the controller is down", s.podWithoutController},
		{"a pod goes while ztunnel is down", s.podGoesWithoutZtunnel},
		{"everything anew", s.everythingAnew},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t)
			s.works(t)
		})
	}
}

func (s *shop) guest(t *testing.T, name string, change ...func(*lab.PodSpec)) *lab.Pod {
	t.Helper()
	p := s.pod(t, "shop/"+name, "node-b", change...)
	must(t, lab.WaitEnrolled(ctx(t), p))
	must(t, s.waitTunnels(ctx(t), p))
	must(t, answers(ctx(t), program(t, s.client), p.At(false, portBanner)))
	return p
}

func (s *shop) reusedWithoutAgent(t *testing.T) {
	old := s.guest(t, "old")
	must(t, s.Node("node-b").Agent().Kill())
	must(t, old.Delete())
	heir := s.pod(t, "shop/heir", "node-b", func(p *lab.PodSpec) { p.V4, p.V6 = old.V4, old.V6 })
	must(t, s.Node("node-b").StartAgent(ctx(t)))
	must(t, lab.WaitEnrolled(ctx(t), heir))
	must(t, s.waitTunnels(ctx(t), heir))
	both(t, func(t *testing.T, v6 bool) {
		eventually(t, func() error { return answers(ctx(t), program(t, s.client), heir.At(v6, portBanner)) })
		s.talk(t, s.client, heir, v6)
		s.talk(t, heir, s.near, v6)
	})
	must(t, heir.Delete())
}

func (s *shop) unlabelledWithoutAgent(t *testing.T) {
	p := s.guest(t, "opting-out")
	must(t, s.Node("node-b").Agent().Kill())
	must(t, p.Label(lab.ModeLabel, "none"))
	time.Sleep(300 * time.Millisecond)
	must(t, s.Node("node-b").StartAgent(ctx(t)))
	must(t, lab.WaitPlain(ctx(t), p))
	must(t, unchanged(p, s.plainFar))
	both(t, func(t *testing.T, v6 bool) { s.talk(t, s.client, p, v6); s.talk(t, p, s.near, v6) })
	must(t, p.Delete())
}

// unlabelledWithoutZtunnel: taking the label off helps where the proxy is broken.
func (s *shop) unlabelledWithoutZtunnel(t *testing.T) {
	p := s.guest(t, "leaving")
	must(t, s.Node("node-b").Ztunnel().Remove())
	must(t, p.Label(lab.ModeLabel, "none"))
	must(t, lab.WaitPlain(ctx(t), p))
	must(t, unchanged(p, s.plainFar))
	both(t, func(t *testing.T, v6 bool) {
		must(t, answers(ctx(t), program(t, s.plainClient), p.At(v6, portBanner)))
		eventually(t, func() error { return answers(ctx(t), program(t, s.client), p.At(v6, portBanner)) })
		must(t, answers(ctx(t), program(t, p), s.near.At(v6, portBanner)))
	})
	_, err := s.Node("node-b").StartZtunnel(ctx(t))
	must(t, err)
	both(t, func(t *testing.T, v6 bool) { must(t, answers(ctx(t), program(t, s.client), p.At(v6, portBanner))) })
	must(t, p.Delete())
}

// labelledWithoutZtunnel: a plain pod is left alone until there is a proxy that can carry it.
func (s *shop) labelledWithoutZtunnel(t *testing.T) {
	must(t, s.Node("node-b").Ztunnel().Remove())
	p := s.pod(t, "shop/early", "node-b")
	must(t, lab.WaitActual(ctx(t), "waiting", p))
	both(t, func(t *testing.T, v6 bool) {
		must(t, answers(ctx(t), program(t, s.plainClient), p.At(v6, portBanner)))
		must(t, answers(ctx(t), program(t, p), s.plainNear.At(v6, portBanner)))
	})
	_, err := s.Node("node-b").StartZtunnel(ctx(t))
	must(t, err)
	must(t, lab.WaitEnrolled(ctx(t), p))
	both(t, func(t *testing.T, v6 bool) {
		eventually(t, func() error { return answers(ctx(t), program(t, s.client), p.At(v6, portBanner)) })
	})
	must(t, p.Delete())
}

// podWithoutController: the new pod's proxy knows nothing of it, and says so.
func (s *shop) podWithoutController(t *testing.T) {
	must(t, s.Controller().Kill())
	p := s.pod(t, "shop/new", "node-b")
	time.Sleep(time.Second)
	s.works(t)
	both(t, func(t *testing.T, v6 bool) { // plain or refused, but never a hang
		_, err := program(t, p).Ask(ctx(t), app.DialArgs{Address: s.near.At(v6, portBanner), Timeout: 8 * time.Second})
		if err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("a call of a pod that the mesh does not know: %v", err)
		}
	})
	must(t, s.StartController(ctx(t)))
	must(t, lab.WaitEnrolled(ctx(t), p))
	must(t, s.waitTunnels(ctx(t), p))
	both(t, func(t *testing.T, v6 bool) { s.talk(t, s.client, p, v6); s.talk(t, p, s.near, v6) })
	must(t, p.Delete())
}

func (s *shop) podGoesWithoutZtunnel(t *testing.T) {
	p := s.guest(t, "gone")
	must(t, s.Node("node-b").Ztunnel().Remove())
	must(t, p.Delete())
	_, err := s.Node("node-b").StartZtunnel(ctx(t))
	must(t, err)
	eventually(t, func() error {
		st, err := s.Node("node-b").AgentStatus(ctx(t))
		for _, x := range st.Pods {
			if x.UID == p.UID {
				err = fmt.Errorf("the agent still knows pod %+v", x)
			}
		}
		return err
	})
}

// everythingAnew kills every process of the mesh at once and starts all of them.
func (s *shop) everythingAnew(t *testing.T) {
	must(t, s.Controller().Kill())
	for _, n := range []string{"node-a", "node-b"} {
		must(t, s.Node(n).Agent().Kill())
		must(t, s.Node(n).Ztunnel().Remove())
	}
	must(t, s.StartController(ctx(t)))
	for _, n := range []string{"node-a", "node-b"} {
		must(t, s.Node(n).StartAgent(ctx(t)))
		_, err := s.Node(n).StartZtunnel(ctx(t))
		must(t, err)
	}
	must(t, lab.WaitEnrolled(ctx(t), s.client, s.near, s.far))
	must(t, s.waitTunnels(ctx(t), s.client, s.near, s.far))
}
