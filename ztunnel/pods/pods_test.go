package pods

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/zds"
)

func TestAddServesAndDelEnds(t *testing.T) {
	x := newFixture(t)
	x.Begin()
	must(t, x.Add(podOf(t, "u1", "web", "10.0.0.1")))
	must(t, x.SnapshotSent())
	x.expect(t, 3, 0)
	p := x.at("10.0.0.1")
	if p == nil || p.Workload != "c1//Pod/shop/web" || p.Identity.String() != "spiffe://cluster.local/ns/shop/sa/web" || p.Mark != 9 {
		t.Fatalf("pod %+v", p)
	}
	for i, l := range x.engine.serving {
		if l.Kind != zds.Slots(false)[i].Kind {
			t.Errorf("listener %d is %s", i, l.Kind)
		}
		if flags, err := unix.FcntlInt(uintptr(l.FD), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("listener %d may block: %x %v", i, flags, err)
		}
	}
	if !slices.Equal(x.rest.captured, []string{"c1//Pod/shop/web"}) || x.rest.held[p.Identity] != 1 || !x.Synced() {
		t.Errorf("captured %v, held %v", x.rest.captured, x.rest.held)
	}
	if n := testutil.CollectAndCount(collector{x.Registry}); n != 3 {
		t.Errorf("%d series", n)
	}
	must(t, x.Del("u1"))
	must(t, x.Del("u1"))
	x.expect(t, 0, 1)
	if x.at("10.0.0.1") != nil || len(x.rest.captured) != 0 || x.rest.held[p.Identity] != 0 {
		t.Errorf("left behind: captured %v, held %v", x.rest.captured, x.rest.held)
	}
}

func TestAddAgain(t *testing.T) {
	x := newFixture(t)
	first := podOf(t, "u1", "web", "10.0.0.1")
	same, again, renamed := copyOf(t, first), copyOf(t, first), copyOf(t, first)
	must(t, x.Add(first))
	p := x.at("10.0.0.1")
	must(t, x.Add(same))
	x.expect(t, 3, 0)

	newer := podOf(t, "u1", "web", "10.0.0.1")
	kept := copyOf(t, newer)
	defer kept.Close()
	must(t, x.Add(newer))
	x.expect(t, 6, 0)
	if x.at("10.0.0.1") != p {
		t.Error("new listeners made it another pod")
	}
	back, err := x.Return("u1")
	must(t, err)
	if !sameListeners(back, kept.Sockets) {
		t.Error("old listeners are given back")
	}
	again.Close()

	renamed.Name = "other"
	must(t, x.Add(renamed))
	x.expect(t, 3, 1)
	if q := x.at("10.0.0.1"); q == p || q.Name != "other" {
		t.Error("another name is the same pod")
	}
}

func TestAnotherNamespaceIsAnotherPod(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	x := newFixture(t)
	must(t, x.Add(podOf(t, "u1", "web", "10.0.0.1")))
	p := x.at("10.0.0.1")
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs root to make a network namespace: %v", err)
	}
	must(t, x.Add(podOf(t, "u1", "web", "10.0.0.1")))
	x.expect(t, 3, 1)
	if x.at("10.0.0.1") == p {
		t.Error("it is the same pod")
	}
}

func TestBadSocketsAreRefusedAndClosed(t *testing.T) {
	null := func() int {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		return fd
	}
	tests := map[string]func(*zds.Pod){
		"no namespace": func(p *zds.Pod) { unix.Close(p.NetNS); p.NetNS = null() },
		"no listener":  func(p *zds.Pod) { unix.Close(p.Listeners[1]); p.Listeners[1] = null() },
		"wrong family": func(p *zds.Pod) {
			p.V6 = true
			p.Listeners = append(p.Listeners, listener(t), listener(t), listener(t))
		},
		"bad account":    func(p *zds.Pod) { p.ServiceAccount = "a/b" },
		"no such engine": func(p *zds.Pod) { p.Name = "engine refuses" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			x := newFixture(t)
			p := podOf(t, "u1", "web", "10.0.0.1")
			spoil(&p)
			if strings.HasPrefix(p.Name, "engine") {
				x.engine.fail = errors.New("no")
			}
			if err := x.Add(p); err == nil {
				t.Error("was accepted")
			}
			if x.at("10.0.0.1") != nil || len(x.rest.captured) > 0 {
				t.Error("is known all the same")
			}
			for id, n := range x.rest.held {
				if n != 0 {
					t.Errorf("%s is held", id)
				}
			}
		})
	}
}
