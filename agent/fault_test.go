package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
	"github.com/ambitmesh/ambit/agent/netns"
)

// storms start traffic through both kinds of capture; calling the result ends and judges it.
func (p *play) storms(t *testing.T) func() {
	t.Helper()
	stops := []func() stage.Tally{
		p.c.Storm(t, stage.Dial{To: stage.At(p.s.V4, 8080)}),
		p.x.Storm(t, stage.Dial{To: stage.At(p.s.V6, 8080)}),
	}
	time.Sleep(100 * time.Millisecond)
	return func() {
		t.Helper()
		time.Sleep(100 * time.Millisecond)
		for _, stop := range stops {
			if got := stop(); len(got.Failed) > 0 || got.OK == 0 {
				t.Errorf("%d connections were good, these failed:\n%s", got.OK, strings.Join(got.Failed, "\n"))
			}
		}
	}
}

func TestAgentKilledAndRestarted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		manners stage.Manners
		counter string
	}{
		{"the proxy returns the listeners", stage.Manners{PlainKnown: true}, "listeners_returned"},
		{"the proxy returns nothing", stage.Manners{PlainKnown: true, Forgetful: true}, "listeners_made"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlay(t)
			p.proxy.Behave(t, tt.manners)
			held := hold(t, p.c.Process, p.s)
			judge := p.storms(t)
			p.agent.Kill()
			p.proxy.Log(t)
			more := hold(t, p.c.Process, p.s) // nobody is missed
			if log := p.proxy.Log(t); len(log) < 4 {
				t.Errorf("without an agent the proxy saw only %v", log)
			}
			p.start()
			p.become(agent.ActualEnrolled, "c", "s")
			more = append(more, hold(t, p.c.Process, p.s)...)
			judge()
			alive(t, p.c.Process, "after the restart", append(held, more...)...)
			if n := p.count(tt.counter); n != 2 {
				t.Errorf("%s is %d, want 2", tt.counter, n)
			}
			p.Namespace("", "")
			p.become(agent.ActualDraining, "c", "s")
			for _, c := range append(held, more...) {
				p.c.Close(t, c)
			}
			p.become(agent.ActualPlain, "c", "s")
			untouched(t, p.s)
		})
	}
}

func TestProxyKilledAndRestarted(t *testing.T) {
	p := newPlay(t)
	plain := hold(t, p.x.Process, p.x) // not captured: lives on
	p.proxy.Kill()
	var waiting []stage.Conn
	for _, to := range []string{stage.At(p.x.V4, 8080), stage.At(p.x.V6, 8080), stage.At(p.s.V4, 8080)} {
		c := p.c.Dial(t, stage.Dial{To: to, Silent: true})
		if c.Err != "" {
			t.Fatalf("dial %s without a proxy: %s", to, c.Err)
		}
		waiting = append(waiting, c)
	}
	p.proxy = p.Proxy("proxy")
	p.become(agent.ActualEnrolled, "c", "s")
	for _, c := range waiting { // the banner was not read: it comes first
		if got, err := p.c.Bulk(c, 10); err != nil || got <= 10 {
			t.Errorf("connection to %s that waited: %d bytes, %v", c.Peer, got, err)
		}
	}
	alive(t, p.x.Process, "meanwhile", plain...)
	if n := p.count("reset_proxy_absent"); n != 0 {
		t.Errorf("%d connections were reset", n)
	}
}

func TestProxyAbsent(t *testing.T) {
	h := newTheater(t)
	h.setup.ProxyAbsentAfter = 5 * time.Second // until when the dial below must have come
	c, s := h.Pod("c"), h.Pod("s")
	h.Namespace(ambient, "")
	h.start()
	h.eventually("pods wait for a proxy", func() error {
		st, err := h.pod("c")
		if err == nil && (st.Actual != agent.ActualWaiting || !strings.Contains(st.Why, "no node proxy")) {
			err = fmt.Errorf("it is %s: %s", st.Actual, st.Why)
		}
		return err
	})
	alive(t, c.Process, "plain without a proxy", hold(t, c.Process, s)...)
	proxy := h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "c", "s")
	proxy.Kill()
	conn := c.Dial(t, stage.Dial{To: stage.At(s.V4, 8080), Silent: true})
	if conn.Err != "" {
		t.Fatalf("dial without a proxy: %s", conn.Err)
	}
	if how := c.End(t, conn); !strings.Contains(how, "connection reset") {
		t.Errorf("the waiting connection ended by %q, want a reset", how)
	}
	h.eventually("the reset is counted", func() error {
		if n := h.count("reset_proxy_absent"); n != 1 {
			return fmt.Errorf("reset_proxy_absent is %d", n)
		}
		return nil
	})
	if st, err := h.pod("c"); err != nil || st.Actual != agent.ActualEnrolled || !strings.Contains(st.Why, "no node proxy") {
		t.Errorf("status says %+v %v, want enrolled and why it does not work", st, err)
	}
}

func TestBothKilled(t *testing.T) {
	p := newPlay(t)
	p.agent.Kill()
	p.proxy.Kill()
	// No listener is left: refused, not passed by.
	for _, from := range []*stage.Process{p.c.Process, p.x.Process} {
		if c := from.Dial(t, stage.Dial{To: stage.At(p.s.V6, 8080), Timeout: time.Second}); c.Err == "" {
			t.Errorf("without agent and proxy: %+v", c)
		}
	}
	p.start()
	p.proxy = p.Proxy("proxy")
	p.become(agent.ActualEnrolled, "c", "s")
	alive(t, p.c.Process, "after both came back", hold(t, p.c.Process, p.s)...)
}

func TestProxyIsSucceeded(t *testing.T) {
	p := newPlay(t)
	p.proxy.Behave(t, stage.Manners{PlainKnown: true})
	held := hold(t, p.c.Process, p.s)
	judge := p.storms(t)
	second := p.Proxy("proxy2")
	p.eventually("the first proxy drains", func() error {
		if !p.proxy.Drained(t) {
			return fmt.Errorf("not asked")
		}
		return nil
	})
	judge()
	first := p.proxy
	first.Log(t)
	second.Log(t)
	second.Behave(t, stage.Manners{PlainKnown: true})
	fresh := hold(t, p.c.Process, p.s)
	if a, b := first.Log(t), second.Log(t); len(a) != 0 || len(b) != 4 {
		t.Errorf("after the succession the first proxy saw %v, the second %v", a, b)
	}
	alive(t, p.c.Process, "of the first proxy", held...)
	p.Namespace("", "")
	p.become(agent.ActualDraining, "c", "s")
	for _, c := range fresh {
		p.c.Close(t, c)
	}
	time.Sleep(2 * time.Second) // more than the agent waits for handshakes
	alive(t, p.c.Process, "of the first proxy, after un-enrol", held...)
	first.Stop()
	p.become(agent.ActualPlain, "c", "s")
}

func TestUnusedPodIsReleasedWithoutTheMesh(t *testing.T) {
	h := newTheater(t)
	h.setup.UnusedAfter = 5 * time.Second // so that the state in between is seen
	h.Pod("s")
	h.Namespace(ambient, "")
	h.start()
	h.Proxy("proxy") // never says that the pod is known to be plain
	h.become(agent.ActualEnrolled, "s")
	h.Namespace("", "")
	h.become(agent.ActualRetiring, "s")
	h.become(agent.ActualPlain, "s")
}

func TestOnlyProxiesMayCall(t *testing.T) {
	p := newPlay(t)
	refused := p.count("zds_refused")
	for name, box := range map[string]*stage.Process{
		"in the root of the hierarchy": p.BoxAt(p.CgroupMount),
		"in the node's root cgroup":    p.BoxAt(p.setup.CgroupRoot),
		"in a pod":                     p.c.Process,
		"in a pod's cgroup":            p.BoxAt(p.c.Cgroup),
	} {
		if how := box.ZDS(t, p.Socket()); how != "0 EOF" {
			t.Errorf("a process %s got %q, want the end", name, how)
		}
	}
	if n := p.count("zds_refused") - refused; n != 4 {
		t.Errorf("%d refusals were counted, want 4", n)
	}
	p.eventually("every refusal is logged", func() error {
		if n := strings.Count(p.agent.Output(), "zds peer refused"); n != 4 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	alive(t, p.c.Process, "meanwhile", hold(t, p.c.Process, p.s)...)
}

func TestTwoAgentsOnOneKernel(t *testing.T) {
	a := newPlay(t)
	b := newPlay(t) // same addresses, another node
	alive(t, a.c.Process, "of a", hold(t, a.c.Process, a.s)...)
	alive(t, b.c.Process, "of b", hold(t, b.c.Process, b.s)...)
	if x, y := a.proxy.Log(t), b.proxy.Log(t); len(x) != 4 || len(y) != 4 {
		t.Errorf("the proxies saw %v and %v, want four connections each", x, y)
	}
	// The same instance twice is refused.
	third := a.Role("agent", "agent3", setupEnv+"="+strings.ReplaceAll(a.config(), a.RunDir, t.TempDir()))
	third.Wait()
	if !strings.Contains(third.Output(), "another agent runs with this instance") {
		t.Errorf("a second agent of the instance said %q", third.Output())
	}
	b.agent.Stop()
	if err := agent.Cleanup(b.BPFFS, b.CgroupRoot, "test"); err != nil {
		t.Fatal(err)
	}
	alive(t, a.c.Process, "of a, after b", hold(t, a.c.Process, a.s)...)
}

// linked says whether a program is attached to the node's cgroup or to a pod.
func (p *play) linked(pods ...*stage.Pod) error {
	inodes := map[uint64]bool{}
	for _, path := range []string{p.setup.CgroupRoot, pods[0].NetNS, pods[1].NetNS} {
		ino, err := netns.InodeAt(path) // any file's
		if err != nil {
			return err
		}
		inodes[ino] = true
	}
	var it link.Iterator
	defer it.Close() // else a link that is found lives on by our own descriptor
	for it.Next() {
		info, err := it.Link.Info()
		if err != nil {
			continue // it went away
		}
		if c := info.Cgroup(); c != nil && inodes[c.CgroupId] {
			return fmt.Errorf("link %d is at the cgroup", info.ID)
		}
		if n := info.NetNs(); n != nil && inodes[uint64(n.NetnsInode)] {
			return fmt.Errorf("link %d is at a pod", info.ID)
		}
	}
	return it.Err()
}

func TestCleanupLeavesNothing(t *testing.T) {
	p := newPlay(t)
	if err := agent.Cleanup(p.BPFFS, p.CgroupRoot, "test"); err == nil || !strings.Contains(err.Error(), "another agent runs") {
		t.Errorf("cleanup beside a running agent: %v", err)
	}
	if err := agent.Cleanup(p.BPFFS, p.CgroupRoot, "other"); err != nil {
		t.Errorf("cleanup of an instance that is not there: %v", err)
	}
	if p.linked(p.c, p.s) == nil {
		t.Error("no link is found while pods are enrolled")
	}
	p.agent.Kill()
	p.proxy.Kill()
	if err := agent.CleanupAll(p.BPFFS, p.CgroupRoot); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(p.BPFFS, "ambit")); !os.IsNotExist(err) {
		t.Errorf("pins left: %v", err)
	}
	untouched(t, p.c)
	untouched(t, p.s)
	p.eventually("no link is left", func() error { return p.linked(p.c, p.s) })
	alive(t, p.c.Process, "plain", hold(t, p.c.Process, p.s)...)
	if err := agent.CleanupAll(p.BPFFS, p.CgroupRoot); err != nil {
		t.Errorf("second cleanup: %v", err)
	}
}
