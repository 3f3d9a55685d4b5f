package pods

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/zds"
)

// fakeEngine notes what it is given and accepts nothing.
type fakeEngine struct {
	engine.Engine

	mu      sync.Mutex
	serving []engine.Listener
	removed []*engine.Pod
	records []*engine.Record
	fail    error
}

func (f *fakeEngine) Serve(l engine.Listener) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		unix.Close(l.FD)
		return f.fail
	}
	f.serving = append(f.serving, l)
	return nil
}

func (f *fakeEngine) Remove(p *engine.Pod, _ reason.Reason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = append(f.removed, p)
	f.serving = slices.DeleteFunc(f.serving, func(l engine.Listener) bool {
		if l.Pod == p {
			unix.Close(l.FD)
		}
		return l.Pod == p
	})
}

func (f *fakeEngine) Each(do func(*engine.Record) bool) {
	for _, r := range f.records {
		if !do(r) {
			return
		}
	}
}

func (f *fakeEngine) counts() (serving, removed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.serving), len(f.removed)
}

// fakeRest is the certificates and the controller.
type fakeRest struct {
	mu       sync.Mutex
	held     map[identity.ID]int
	cert     *identity.Cert
	captured []string
	retired  []string
	plain    bool
	known    bool // announced
}

func (f *fakeRest) Get(identity.ID) (*identity.Cert, <-chan struct{}) { return f.cert, nil }
func (f *fakeRest) PlainKnown(string) bool                            { return f.plain }
func (f *fakeRest) Announced(string) bool                             { return f.known }

func (f *fakeRest) Hold(id identity.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[id]++
}

func (f *fakeRest) Release(id identity.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[id]--
}

func (f *fakeRest) SetCaptured(uids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.captured = slices.Sorted(slices.Values(uids))
}

func (f *fakeRest) Retire(uid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retired = append(f.retired, uid)
}

type fixture struct {
	*Registry
	engine *fakeEngine
	rest   *fakeRest
	now    time.Time
	known  bool
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	x := &fixture{engine: &fakeEngine{}, rest: &fakeRest{held: map[identity.ID]int{}}, now: time.Unix(1_700_000_000, 0), known: true}
	reg := prometheus.NewPedanticRegistry()
	r, err := New(Config{
		Engine: x.engine, Certs: x.rest, Captures: x.rest, Known: func(string) bool { return x.known },
		TrustDomain: "cluster.local", Cluster: "c1", Now: func() time.Time { return x.now },
		Log: slog.New(slog.DiscardHandler), Registerer: reg, StaleAfter: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Registry = r
	before := openFiles(t)
	t.Cleanup(func() {
		x.Close()
		if _, err := reg.Gather(); err != nil {
			t.Errorf("metrics: %v", err)
		}
		if after := openFiles(t); after != before {
			t.Errorf("%d descriptors open at the end, %d at the start", after, before)
		}
	})
	return x
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// podOf makes a pod with sockets in this thread's network namespace.
func podOf(t *testing.T, uid, name, addr string) zds.Pod {
	t.Helper()
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := zds.Pod{
		UID: uid, Name: name, Namespace: "shop", ServiceAccount: "web", Addrs: []netip.Addr{netip.MustParseAddr(addr)},
		Sockets: zds.Sockets{NetNS: ns, Mark: 9},
	}
	for range zds.Slots(false) {
		p.Listeners = append(p.Listeners, listener(t))
	}
	return p
}

func listener(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// copyOf is what an agent sends again: other descriptors of the same sockets.
func copyOf(t *testing.T, p zds.Pod) zds.Pod {
	t.Helper()
	clone := func(fd int) int {
		n, err := dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	p.NetNS = clone(p.NetNS)
	list := []int{}
	for _, fd := range p.Listeners {
		list = append(list, clone(fd))
	}
	p.Listeners = list
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (x *fixture) at(addr string) *engine.Pod { return x.At(netip.MustParseAddr(addr)) }

func (x *fixture) expect(t *testing.T, serving, removed int) {
	t.Helper()
	if s, r := x.engine.counts(); s != serving || r != removed {
		t.Errorf("%d listeners served, %d pods removed; want %d and %d", s, r, serving, removed)
	}
}

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

func TestRetiredPodIsServedUntilDel(t *testing.T) {
	x := newFixture(t)
	p := podOf(t, "u1", "web", "10.0.0.1")
	back := copyOf(t, p)
	must(t, x.Add(p))
	must(t, x.Retire("u1"))
	if len(x.rest.captured) != 0 || !slices.Equal(x.rest.retired, []string{"c1//Pod/shop/web"}) {
		t.Errorf("captured %v, retired %v", x.rest.captured, x.rest.retired)
	}
	if x.at("10.0.0.1") == nil {
		t.Error("nothing is handed over any more, though inbound is captured")
	}
	x.expect(t, 3, 0)
	must(t, x.Add(back))
	if len(x.rest.captured) != 1 {
		t.Error("a pod that was added again is still retiring")
	}
	if err := x.Retire("nobody"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown pod: %v", err)
	}
}

func TestSnapshotRemovesWhatItDoesNotName(t *testing.T) {
	x := newFixture(t)
	x.Begin()
	stays, asked := podOf(t, "stays", "a", "10.0.0.1"), podOf(t, "asked", "b", "10.0.0.2")
	again := copyOf(t, stays)
	must(t, x.Add(stays))
	must(t, x.Add(asked))
	must(t, x.Add(podOf(t, "goes", "c", "10.0.0.3")))
	must(t, x.SnapshotSent())
	x.End()
	if x.Synced() {
		t.Error("synced without a session")
	}
	if x.at("10.0.0.3") == nil {
		t.Error("without the agent nothing is handed over")
	}
	x.Begin()
	must(t, x.Add(again))
	must(t, x.SnapshotSent())
	if x.at("10.0.0.3") != nil {
		t.Error("an address that nobody claims is handed over")
	}
	if _, err := x.Return("asked"); err != nil {
		t.Errorf("a pod that the agent asks for right after: %v", err)
	}
	eventually(t, func() bool { return len(x.List()) == 2 })
	x.expect(t, 6, 1)
}

func TestNothingIsRemovedWhileTheAgentIsAway(t *testing.T) {
	x := newFixture(t)
	must(t, x.Add(podOf(t, "u1", "web", "10.0.0.1")))
	x.Begin()
	must(t, x.SnapshotSent())
	x.End()
	x.Begin() // it has not come as far as the end of its snapshot
	time.Sleep(3 * x.cfg.StaleAfter)
	x.expect(t, 3, 0)
	must(t, x.Keep("u1"))
	if err := x.Keep("u2"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown pod: %v", err)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not happen")
		}
	}
}

func TestQuery(t *testing.T) {
	x := newFixture(t)
	must(t, x.Add(podOf(t, "u1", "web", "10.0.0.1")))
	must(t, x.Add(podOf(t, "u2", "db", "10.0.0.2")))
	p, other := x.at("10.0.0.1"), x.at("10.0.0.2")
	x.known = false
	x.now = x.now.Add(time.Minute)
	s, err := x.Query("u1")
	must(t, err)
	if s.Connections != 0 || s.PlainKnown || s.Idle != time.Minute || s.Waiting != "workload record" {
		t.Errorf("unused: %+v", s)
	}
	x.known, x.rest.plain = true, true
	p.Usage.Connections.Store(2)
	p.Usage.LastAccept.Store(x.now.Add(-20 * time.Second).UnixNano())
	if s, err = x.Query("u1"); err != nil || s.Connections != 2 || !s.PlainKnown || s.Idle != 20*time.Second || s.Waiting != "certificate" {
		t.Errorf("in use: %+v %v", s, err)
	}
	x.rest.cert = &identity.Cert{}
	handed := &engine.Record{Pod: other, Accepted: x.now.Add(-time.Second)}
	handed.Attempt.Dial = engine.Dial{Action: engine.Deliver, Pod: p}
	x.engine.records = []*engine.Record{handed, {Pod: p}}
	if s, err = x.Query("u1"); err != nil || s.Connections != 3 || s.Idle != time.Second || s.Waiting != "announcement" {
		t.Errorf("with a connection of another pod of the node: %+v %v", s, err)
	}
	x.rest.known = true
	if s, err = x.Query("u1"); err != nil || s.Waiting != "" {
		t.Errorf("known to all: %+v %v", s, err)
	}
	x.rest.known = false
	must(t, x.Retire("u1"))
	if s, err = x.Query("u1"); err != nil || s.Waiting != "" {
		t.Errorf("retiring: %+v %v", s, err)
	}
	if _, err := x.Query("nobody"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown pod: %v", err)
	}
}

func TestAddressThatMovedIsTheNewestPods(t *testing.T) {
	x := newFixture(t)
	must(t, x.Add(podOf(t, "old", "a", "10.0.0.1")))
	must(t, x.Add(podOf(t, "new", "b", "10.0.0.1")))
	if p := x.at("10.0.0.1"); p.UID != "new" {
		t.Errorf("the address is %s's", p.UID)
	}
	must(t, x.Del("new"))
	if p := x.at("10.0.0.1"); p == nil || p.UID != "old" {
		t.Errorf("the address is nobody's")
	}
}

func TestClosedRegistryTakesNoPods(t *testing.T) {
	x := newFixture(t)
	must(t, x.Add(podOf(t, "u1", "web", "10.0.0.1")))
	x.Close()
	if err := x.Add(podOf(t, "u2", "db", "10.0.0.2")); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	x.expect(t, 0, 2)
}
