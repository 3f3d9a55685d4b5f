package agent_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
	"github.com/ambitmesh/ambit/agent/netns"
)

func TestPodGoneWhileTheAgentWasAway(t *testing.T) {
	p := newPlay(t)
	p.agent.Kill()
	p.s.Delete() // only the object: the namespace is still there
	p.setup.StrayAfter = time.Second
	p.start()
	p.eventually("nothing is left in the pod", func() error {
		if rules, routes := p.s.Rules(t, netns.Table); rules != 0 || routes != 0 {
			return fmt.Errorf("%d rules, %d routes", rules, routes)
		}
		return nil
	})
	untouched(t, p.s)
	to := stage.At(p.s.V4, 8080)
	p.check(t, p.x.Process, stage.Dial{To: to}, want{who: "s", client: p.x.V4.String()})
	p.become(agent.ActualEnrolled, "c")
}

func TestSnapshotOfARestartedAgentIsWhole(t *testing.T) {
	p := newPlay(t)
	for range 3 {
		p.agent.Kill()
		p.start()
		p.eventually("the snapshot is sent", func() error {
			got := p.proxy.Snapshot(t)
			if got == nil {
				return errors.New("not yet")
			}
			if slices.Sort(got); !slices.Equal(got, []string{"uid-c", "uid-s"}) {
				t.Fatalf("the snapshot named %v, want both pods", got)
			}
			return nil
		})
	}
}

func TestWorldThatCannotBeReadLosesNoPod(t *testing.T) {
	p := newPlay(t)
	p.agent.Kill()
	objects := p.setup.Objects
	p.setup.Objects += "-away"
	p.start()
	p.eventually("the proxy has called again", func() error {
		if got := p.proxy.Snapshot(t); got != nil {
			return fmt.Errorf("its snapshot is %v", got)
		}
		return nil
	})
	time.Sleep(2 * time.Second) // longer than a snapshot takes
	if got := p.proxy.Snapshot(t); got != nil {
		t.Errorf("a snapshot was sent: %v", got)
	}
	alive(t, p.c.Process, "without a world", hold(t, p.c.Process, p.s)...)
	if err := os.Rename(objects, p.setup.Objects); err != nil {
		t.Fatal(err)
	}
	p.become(agent.ActualEnrolled, "c", "s")
}

func TestTamperedPodFailsClosedAndIsMended(t *testing.T) {
	p := newPlay(t)
	for i, addr := range []string{stage.At(p.s.V4, 8080), stage.At(p.s.V6, 8080)} {
		p.s.Sysctl(t, "ipv4/tcp_fwmark_accept", "0")
		if c := p.x.Dial(t, stage.Dial{To: addr, Timeout: time.Second}); c.Err == "" {
			t.Errorf("%s without tcp_fwmark_accept: %+v", addr, c)
		}
		p.s.Labels = fmt.Sprintf("touched: \"%d\"", i) // wakes the pod's worker
		p.s.Write()
		p.eventually("the pod works again", func() error {
			if c := p.x.Dial(t, stage.Dial{To: addr, Timeout: 5 * time.Second}); c.Err != "" {
				return fmt.Errorf("%s", c.Err)
			}
			return nil
		})
	}
}

func TestKubeletIsFoundByItsPort(t *testing.T) {
	h := newTheater(t)
	h.setup.ProbeCgroup = ""
	p := &play{theater: h, s: h.Pod("s")}
	h.Namespace(ambient, "")
	kubelet := h.Box("kubelet")
	kubelet.Listen(t, ":10250", "kubelet")
	h.start()
	p.proxy = h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "s")
	unseen := func(from *stage.Process) error {
		p.proxy.Log(t)
		c := from.Dial(t, stage.Dial{To: stage.At(p.s.V4, 8080), Timeout: 5 * time.Second})
		if log := p.proxy.Log(t); c.Err != "" || len(log) != 0 {
			return fmt.Errorf("%+v through %v", c, log)
		}
		return nil
	}
	h.eventually("the probe passes", func() error { return unseen(kubelet) })
	if err := unseen(h.Process); err == nil {
		t.Error("another process of the node passes too")
	}
	// It is restarted: its cgroup is made anew, with another id.
	kubelet.Kill()
	if err := os.Remove(h.Cgroup("kubelet")); err != nil {
		t.Fatal(err)
	}
	kubelet = h.Box("kubelet")
	kubelet.Listen(t, ":10250", "kubelet")
	h.eventually("the probe passes after the restart", func() error { return unseen(kubelet) })
}

func TestProbesOfTheWholeNode(t *testing.T) {
	h := newTheater(t)
	h.setup.ProbeCgroup = "node"
	p := &play{theater: h, s: h.Pod("s")}
	h.Namespace(ambient, "")
	h.start()
	p.proxy = h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "s")
	p.check(t, h.Process, stage.Dial{To: stage.At(p.s.V4, 8080)}, want{who: "s", client: "10.77.1.1"})
	s, err := h.status()
	if err != nil || s.Probes.Mode != "node" || s.Probes.Detail == "" {
		t.Errorf("status says %+v %v: it must be visible", s.Probes, err)
	}
}

func TestProbeCgroupThatIsNone(t *testing.T) {
	h := newTheater(t)
	h.setup.ProbeCgroup = h.setup.CgroupRoot + "/." // would make every process a probe
	p := &play{theater: h, s: h.Pod("s")}
	h.Namespace(ambient, "")
	h.start()
	p.proxy = h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "s")
	to := stage.At(p.s.V4, 8080)
	p.check(t, h.Process, stage.Dial{To: to}, want{who: "s", client: "10.77.1.1", events: []string{"in s 10.77.1.1>" + to}})
	if s, err := h.status(); err != nil || s.Probes.Mode != "off" || s.Probes.Detail == "" {
		t.Errorf("status says %+v %v", s.Probes, err)
	}
}
