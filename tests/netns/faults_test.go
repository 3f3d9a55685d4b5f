package netns

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestFaults breaks what the mesh stands on.
func TestFaults(t *testing.T) {
	s := newShop(t, lab.Options{})
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"fabric cut for a moment", s.fabricCut},
		{"the other node's ztunnel is frozen", s.frozen},
		{"ztunnel out of descriptors", s.outOfDescriptors},
		{"unparsable objects", s.badObjects},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t)
			s.works(t)
		})
	}
}

// fabricCut is shorter than what TCP forgives: connections live on.
func (s *shop) fabricCut(t *testing.T) {
	held := hold(t, s.client, s.far)
	must(t, s.Node("node-b").Plug(false))
	time.Sleep(2 * time.Second)
	must(t, s.Node("node-b").Plug(true))
	for _, c := range held {
		eventually(t, func() error { return c.Ping(ctx(t)) })
	}
	closeAll(t, held)
}

// frozen has calls to a node that accepts and never answers: they must end, not hang.
func (s *shop) frozen(t *testing.T) {
	z := s.Node("node-b").Ztunnel()
	must(t, z.Signal(syscall.SIGSTOP))
	defer func() { must(t, z.Signal(syscall.SIGCONT)) }()
	both(t, func(t *testing.T, v6 bool) {
		c, err := program(t, s.client).To(ctx(t), s.far.At(v6, portBanner))
		must(t, err)
		begin := time.Now()
		how, err := c.Ended(ctx(t), 45*time.Second)
		if err != nil || strings.Contains(how, "timeout") {
			t.Errorf("a call to a frozen node still hangs after %s: %s %v", time.Since(begin), how, err)
		}
		t.Logf("%s after %s", how, time.Since(begin).Round(time.Millisecond))
		must(t, c.Close(ctx(t)))
		must(t, answers(ctx(t), program(t, s.client), s.near.At(v6, portBanner)))
	})
}

// outOfDescriptors lets a ztunnel have only some more descriptors than it uses now.
func (s *shop) outOfDescriptors(t *testing.T) {
	pid := s.Node("node-a").Ztunnel().PID()
	var old unix.Rlimit
	must(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old))
	limit := unix.Rlimit{Cur: uint64(len(descriptors(t, pid)) + 60), Max: old.Max}
	must(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil))
	a := program(t, s.client)
	g, err := a.Many(ctx(t), app.ManyArgs{Dial: app.DialArgs{Address: s.near.At(false, portBanner), Timeout: 5 * time.Second}, N: 300, Banner: true, Hold: true})
	must(t, err)
	t.Logf("%d connections, then %v", g.Report.OK, g.Report.Errors)
	if g.Report.OK > 60 {
		t.Errorf("%d connections by a proxy that may have some 60 descriptors more", g.Report.OK)
	}
	must(t, a.GroupClose(ctx(t), g.ID))
	s.works(t) // with the limit still in place
	must(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil))
	if !s.Node("node-a").Ztunnel().Running() {
		t.Error("the ztunnel ended")
	}
}

func descriptors(t *testing.T, pid int) []string {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	return all
}

// badObjects puts files into the directory that nobody can read. The rest of the mesh works on, and what
// was good stays.
func (s *shop) badObjects(t *testing.T) {
	s.authorize(t, "shop", "good", "far", "DENY", `
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/near"]}}]
`)
	eventually(t, func() error { return refused(ctx(t), program(t, s.near), s.far.At(false, portBanner)) })
	must(t, s.Apply("policy-shop-good", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: good, namespace: shop}\nspec: {typo: 1}\n"))
	must(t, s.Apply("bad-1", "{{{{ not YAML"))
	must(t, s.Apply("bad-2", "apiVersion: v9\nkind: Nonsense\nmetadata: {name: x}\n"))
	must(t, s.Apply("bad-3", strings.Repeat("- a\n", 100_000)))
	late := s.pod(t, "shop/late", "node-b") // objects after the bad ones still work
	must(t, lab.WaitEnrolled(ctx(t), late))
	must(t, s.waitTunnels(ctx(t), late))
	s.talk(t, s.client, late, false)
	must(t, refused(ctx(t), program(t, s.near), s.far.At(false, portBanner)))
	for _, f := range []string{"policy-shop-good", "bad-1", "bad-2", "bad-3"} {
		must(t, s.Remove(f))
	}
	eventually(t, func() error { return answers(ctx(t), program(t, s.near), s.far.At(false, portBanner)) })
}

// TestNothingLeaks enrols and deletes pods with traffic, and finds no descriptor of theirs afterwards.
func TestNothingLeaks(t *testing.T) {
	s := newShop(t, lab.Options{})
	n := s.Node("node-b")
	s.works(t)
	round := func() {
		var pods []*lab.Pod
		for i := range 6 {
			pods = append(pods, s.pod(t, fmt.Sprintf("shop/brief-%d", i), "node-b"))
		}
		must(t, lab.WaitEnrolled(ctx(t), pods...))
		must(t, s.waitTunnels(ctx(t), pods...))
		for _, p := range pods {
			must(t, answers(ctx(t), program(t, s.client), p.At(false, portBanner)))
			must(t, answers(ctx(t), program(t, p), s.near.At(true, portBanner)))
			must(t, p.Delete())
		}
	}
	round()
	count := func() map[string]int {
		return map[string]int{"agent": len(descriptors(t, n.Agent().PID())), "ztunnel": len(descriptors(t, n.Ztunnel().PID()))}
	}
	time.Sleep(3 * time.Second)
	before := count()
	for range long(10, 2) {
		round()
	}
	for _, what := range []string{"agent", "ztunnel"} {
		eventually(t, func() error {
			if now := count()[what]; now > before[what]+5 {
				return fmt.Errorf("the %s has %d descriptors, %d before six pods came and went again", what, now, before[what])
			}
			return nil
		})
	}
	eventually(t, func() error {
		st, err := n.AgentStatus(ctx(t))
		if err == nil && len(st.Pods) != 2 {
			err = fmt.Errorf("the agent knows %d pods, want 2", len(st.Pods))
		}
		return err
	})
}

// TestManyPods labels a namespace with many pods at once.
func TestManyPods(t *testing.T) {
	m := start(t, lab.Options{})
	must(t, m.Enrol("shop", false))
	count := long(200, 40)
	pods := make([]*lab.Pod, count)
	for i := range pods {
		pods[i] = m.pod(t, fmt.Sprintf("shop/p%d", i), []string{"node-a", "node-b"}[i%2])
	}
	begin := time.Now()
	m.enrol(t, "shop", pods...)
	t.Logf("%d pods enrolled and known after %s", count, time.Since(begin).Round(time.Millisecond))
	var wg sync.WaitGroup
	errs := make([]error, count)
	for i, p := range pods {
		wg.Go(func() {
			for k := 1; k <= 5; k++ {
				to := pods[(i+k*7)%count]
				errs[i] = errors.Join(errs[i], answers(ctx(t), program(t, p), to.At(k%2 == 0, portBanner)))
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
}

// TestTwoLabs runs two meshes on one kernel at once; one goes, the other does not notice.
func TestTwoLabs(t *testing.T) {
	one := newShop(t, lab.Options{TrustDomain: "mesh.example", MTU: 1280})
	x := one.traffic(t)
	t.Run("second", func(t *testing.T) {
		two := newShop(t, lab.Options{Nodes: []string{"node-a", "node-b", "node-c"}})
		two.works(t)
		bulk(t, two.client, two.far, true, 1<<20)
	})
	bulk(t, one.client, one.far, true, 10<<20)
	x.nothingFailed(t)
}
