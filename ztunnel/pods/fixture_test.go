package pods

import (
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
