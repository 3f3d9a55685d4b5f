package netns

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

func (s *shop) leaseLapses(t *testing.T) {
	to := s.near.At(false, portBanner)
	s.becomesDirect(t, s.client, to)
	held := s.holdDirect(t)
	z := s.Node("node-a").Ztunnel()
	must(t, z.Signal(unix.SIGSTOP))
	resume := func() { must(t, z.Signal(unix.SIGCONT)) }
	defer resume()
	eventually(t, func() error {
		before := s.flows(t, "node-a")
		_, err := program(t, s.client).Ask(ctx(t), app.DialArgs{Address: to, Timeout: 500 * time.Millisecond})
		if err == nil || s.flows(t, "node-a") != before {
			return errors.New("a call went past a proxy that is stopped")
		}
		return nil
	})
	pingAll(t, held)
	resume()
	s.becomesDirect(t, s.client, to)
	closeAll(t, held)
}

func (s *shop) directAgentKilled(t *testing.T) {
	to := s.near.At(true, portBanner)
	s.becomesDirect(t, s.client, to)
	held := s.holdDirect(t)
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
	held := s.holdDirect(t)
	time.Sleep(2 * time.Second) // the new proxy begins with a snapshot that is a second old: without the last policy
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
