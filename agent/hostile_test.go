package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
)

// says waits until a pod's status has this state and these words.
func (h *theater) says(name string, actual agent.Actual, words string) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("pod %s is %s: %q", name, actual, words), func() error {
		s, err := h.pod(name)
		if err == nil && (s.Actual != actual || !strings.Contains(s.Why, words)) {
			err = fmt.Errorf("it is %s: %s", s.Actual, s.Why)
		}
		return err
	})
}

func TestPodsThatCannotBeEnrolled(t *testing.T) {
	p := newPlay(t)
	dir := t.TempDir()
	pipe, plain, link, broken := filepath.Join(dir, "pipe"), filepath.Join(dir, "plain"), filepath.Join(dir, "link"), filepath.Join(dir, "broken")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), broken); err != nil {
		t.Fatal(err)
	}
	x := p.x
	own, ownV4, ownV6 := x.NetNS, x.V4, x.V6
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	x.Labels = ""
	for _, tt := range []struct {
		name   string
		change func()
		actual agent.Actual
		words  string
	}{
		{"a pipe", func() { x.NetNS = pipe }, agent.ActualFailed, "not a namespace"},
		{"a file", func() { x.NetNS = plain }, agent.ActualFailed, "not a namespace"},
		{"a device", func() { x.NetNS = "/dev/zero" }, agent.ActualFailed, "not a namespace"},
		{"another kind of namespace", func() { x.NetNS = "/proc/self/ns/mnt" }, agent.ActualFailed, "not a network namespace"},
		{"a broken link", func() { x.NetNS = broken }, agent.ActualFailed, "no such file"},
		{"a path too long", func() { x.NetNS = "/" + strings.Repeat("x", 5000) }, agent.ActualFailed, "too long"},
		{"no path", func() { x.NetNS = `""` }, agent.ActualWaiting, "not known"},
		{"the node's namespace", func() { x.NetNS = p.Process.NetNS() }, agent.ActualFailed, "the node's own"},
		{"another pod's namespace", func() { x.NetNS = p.s.NetNS }, agent.ActualFailed, "belongs to pod uid-s"},
		{"another pod's address", func() { x.NetNS, x.V4, x.V6 = own, p.s.V4, p.s.V6 }, agent.ActualWaiting, "no device of the pod has"},
		{"a link to its own namespace", func() { x.NetNS, x.V4, x.V6 = link, ownV4, ownV6 }, agent.ActualEnrolled, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.change()
			x.Write()
			p.says("x", tt.actual, tt.words)
			// The others go on.
			p.check(t, p.Process, stage.Dial{To: stage.At(p.s.V4, 8080)}, want{who: "s", client: "10.77.2.1", events: []string{"in s 10.77.2.1>" + stage.At(p.s.V4, 8080)}})
		})
	}
}

func TestLabels(t *testing.T) {
	p := newPlay(t)
	p.proxy.Behave(t, stage.Manners{PlainKnown: true})
	for _, tt := range []struct {
		labels string
		actual agent.Actual
		words  string
	}{
		{"istio.io/dataplane-mode: none", agent.ActualPlain, "pod label"},
		{"istio.io/dataplane-mode: ambient", agent.ActualEnrolled, "pod label"},
		{"istio.io/dataplane-mode: sidecar", agent.ActualPlain, "neither ambient nor none"},
		{`istio.io/dataplane-mode: ""`, agent.ActualEnrolled, "namespace label"},
	} {
		p.x.Labels = tt.labels
		p.x.Write()
		p.says("x", tt.actual, tt.words)
		if s, err := p.pod("x"); err != nil || len(s.Why) > 200 {
			t.Errorf("%q: %d bytes of why, %v", tt.labels, len(s.Why), err)
		}
	}
}

func TestHostNetworkIsNeverCaptured(t *testing.T) {
	p := newPlay(t)
	p.x.HostNetwork = true
	p.x.NetNS, p.x.Labels = p.Process.NetNS(), ambient
	p.x.Write()
	p.says("x", agent.ActualPlain, "host network")
	p.proxy.Log(t)
	alive(t, p.Process, "of the node", hold(t, p.Process, p.x)...)
	if log := p.proxy.Log(t); len(log) != 0 {
		t.Errorf("the proxy saw %v", log)
	}
}

func TestPodDeletedAndAddressReused(t *testing.T) {
	p := newPlay(t)
	held := hold(t, p.c.Process, p.s)
	kubelet := p.Box("kubelet")
	probes := hold(t, kubelet, p.s)
	// The new pod is there before the old one's object is gone.
	p.s.Process.Kill()
	p.s.Unwire(2)
	fresh := p.PodAt("fresh", 2)
	p.says("fresh", agent.ActualWaiting, "belongs to pod uid-s")
	p.s.Delete()
	p.become(agent.ActualEnrolled, "fresh")
	if _, err := p.pod("s"); err == nil {
		t.Error("the old pod is still there")
	}
	for _, c := range held {
		if err := p.c.Ping(c); err == nil {
			t.Errorf("connection to %s lives on in the new pod", c.Peer)
		}
	}
	if err := p.flows(0, 0); err != nil {
		t.Errorf("flows of the old pod: %v", err)
	}
	for _, c := range probes {
		kubelet.Close(t, c)
	}
	to := stage.At(fresh.V4, 8080)
	p.check(t, p.x.Process, stage.Dial{To: to}, want{who: "fresh", client: p.x.V4.String(), events: []string{"in fresh " + p.x.V4.String() + ">" + to}})
	alive(t, kubelet, "probe of the new pod", hold(t, kubelet, fresh)...)
}

func TestSandboxReplaced(t *testing.T) {
	p := newPlay(t)
	p.s.Restart(2)
	p.s.Write()
	to := stage.At(p.s.V6, 8080)
	p.eventually("the new sandbox is captured", func() error {
		p.proxy.Log(t)
		c := p.x.Dial(t, stage.Dial{To: to, Timeout: 5 * time.Second})
		if log := p.proxy.Log(t); c.Who != "s" || len(log) != 1 {
			return fmt.Errorf("%+v through %v", c, log)
		}
		return nil
	})
}

func TestPodCannotPoseAsAnother(t *testing.T) {
	p := newPlay(t)
	p.proxy.Log(t)
	// With privileges in its namespace c claims x's address, and the mark, so that the SYN goes to lo.
	p.x.Labels = ""
	p.x.Write()
	p.become(agent.ActualEnrolled, "x")
	for _, d := range []stage.Dial{
		{To: stage.At(p.s.V4, 8080), From: p.x.V4.String(), Transparent: true, Mark: 0x6d0, Timeout: time.Second},
		{To: stage.At(p.s.V6, 8080), From: p.x.V6.String(), Transparent: true, Mark: 0x6d0, Timeout: time.Second},
	} {
		if c := p.c.Dial(t, d); c.Err == "" {
			t.Errorf("dial %+v: %+v", d, c)
		}
	}
	for _, e := range p.proxy.Log(t) {
		if e.Pod == "uid-x" {
			t.Errorf("the proxy took c for x: %+v", e)
		}
	}
}
