package stage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/bpf"
)

// Event is one connection that the proxy accepted.
type Event struct{ Kind, Pod, Src, Dst, Err string }

// Manners are how the proxy behaves.
type Manners struct {
	PlainKnown bool   // what it says of retired pods
	Forgetful  bool   // does not return listeners
	Deaf       bool   // takes pods and accepts nothing
	Waiting    string // what it says that pods wait for
	Direct     bool   // takes direct connections when they are offered
}

// Proxy is a node proxy without TLS: it relays what the listeners get to where it was going.
type Proxy struct {
	path, instance string
	legs           sync.Map // own legs' local addresses
	nextPort       atomic.Uint32

	mu      sync.Mutex
	manners Manners
	pods    map[string]*served
	log     []Event
	drained bool
	direct  *direct
	named   []string // pods that this session has added
	whole   []string // those before the end of its snapshot
}

// served is one pod of the proxy.
type served struct {
	uid   string
	ns    *netns.NS
	mark  uint32
	set   []netns.Listener // raw descriptors, to be returned
	stops []func()
	conns atomic.Int64
	last  atomic.Int64 // unix ms of the last accept
}

func (p *served) use(n int64) {
	p.conns.Add(n)
	if n > 0 {
		p.last.Store(time.Now().UnixMilli())
	}
}

func proxyMain() error {
	x := &Proxy{
		manners: Manners{Waiting: os.Getenv("AMBIT_STAGE_WAITING"), Direct: os.Getenv("AMBIT_STAGE_DIRECT") != ""},
		path:    os.Getenv("AMBIT_STAGE_ZDS"), instance: strconv.FormatUint(rand.Uint64(), 16),
		pods: map[string]*served{},
	}
	go x.keepCalling()
	go x.keepLease()
	return serve("Proxy", x)
}

// keepCalling dials the agent again whenever the session ends.
func (x *Proxy) keepCalling() {
	for {
		if err := x.session(); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED) {
			fmt.Fprintln(os.Stderr, "zds:", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Log returns what was accepted since the last call.
func (x *Proxy) Log(_ int, out *[]Event) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	*out, x.log = x.log, nil
	return nil
}

// Behave changes the manners.
func (x *Proxy) Behave(m Manners, _ *int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.manners = m
	return nil
}

// Snapshot is the pods that the last whole snapshot named.
func (x *Proxy) Snapshot(_ int, uids *[]string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	*uids = x.whole
	return nil
}

// Drained says whether the agent asked it to drain.
func (x *Proxy) Drained(_ int, is *bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	*is = x.drained
	return nil
}

func (x *Proxy) note(e Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.log = append(x.log, e)
}

// take serves a pod with these descriptors, in place of an earlier version of it: the old listeners
// stay open until their backlog is gone, here until the pod is.
func (x *Proxy) take(uid string, v6 bool, mark uint32, fds []int) error {
	set := netns.Order(v6)
	if len(fds) != 1+len(set) {
		return fmt.Errorf("%d descriptors, want %d", len(fds), 1+len(set))
	}
	ns, err := netns.FromFile(os.NewFile(uintptr(fds[0]), "netns"))
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.pods[uid]
	if p == nil || p.ns.Cookie != ns.Cookie {
		x.dropLocked(uid)
		p = &served{uid: uid, ns: ns, mark: mark}
		x.pods[uid] = p
	} else if err := ns.Close(); err != nil {
		return err
	}
	for i := range set {
		set[i].FD = fds[1+i]
		if x.manners.Deaf {
			continue
		}
		l, err := listener(set[i].FD)
		if err != nil {
			return err
		}
		p.stops = append(p.stops, func() { l.Close() })
		go x.accept(p, set[i].Kind, l)
	}
	old := p.set
	p.stops = append(p.stops, func() { netns.CloseAll(old) }) //nolint:errcheck // nothing to do
	p.set = set
	return nil
}

func listener(fd int) (*net.TCPListener, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tl, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(os.ErrInvalid, l.Close())
	}
	return tl, nil
}

func (x *Proxy) accept(p *served, kind bpf.Kind, l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return
		}
		if c.RemoteAddr() == nil || c.LocalAddr() == nil {
			c.Close()
			continue
		}
		go x.relayed(p, kind, c)
	}
}

func (x *Proxy) dropLocked(uid string) {
	p := x.pods[uid]
	if p == nil {
		return
	}
	delete(x.pods, uid)
	for _, stop := range p.stops {
		stop()
	}
	netns.CloseAll(p.set) //nolint:errcheck // nothing to do
	p.ns.Close()
}
