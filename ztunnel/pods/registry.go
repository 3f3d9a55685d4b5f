// Package pods is the proxy's list of the pods that it serves: their sockets, who is captured, and what
// the agent asks about them. Policies and traffic are others' work.
package pods

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/zds"
)

// Captures tells the controller who is captured; *xds.Client is one.
type Captures interface {
	SetCaptured(uids []string)
	Retire(uid string)
	PlainKnown(uid string) bool
	Announced(uid string) bool
}

// Certs keeps certificates for the identities that are held; *certs.Manager is one.
type Certs interface {
	engine.Certs
	Hold(identity.ID)
	Release(identity.ID)
}

// Config is what a Registry needs; all fields but the last are required.
type Config struct {
	Engine      engine.Engine
	Certs       Certs
	Captures    Captures
	Known       func(workloadUID string) bool // whether the mesh has a record of the workload
	TrustDomain string
	Cluster     string
	Now         func() time.Time
	Log         *slog.Logger
	Registerer  prometheus.Registerer // nil: no metrics
	StaleAfter  time.Duration         // 0: 30 s; see SnapshotSent
}

// Registry is the set of served pods. Its methods may be called from any goroutine.
type Registry struct {
	cfg    Config
	byAddr atomic.Pointer[map[netip.Addr]*engine.Pod]
	closes sync.WaitGroup // removals under way

	mu      sync.Mutex
	pods    map[string]*entry
	session uint64 // counts sessions
	synced  bool   // this session's snapshot has come
	closed  bool
	sweeper *time.Timer
}

// entry is one pod. Guarded by Registry.mu.
type entry struct {
	pod      *engine.Pod
	sockets  zds.Sockets // our own duplicates, to give back
	ns       nsID
	added    time.Time
	retiring bool
	session  uint64 // that named it last
	order    uint64
}

// ErrUnknown says that the pod is not served.
var ErrUnknown = errors.New("pod is not served")

// New returns an empty Registry. It fails if a metric of that name is registered already.
func New(cfg Config) (*Registry, error) {
	if cfg.StaleAfter == 0 {
		cfg.StaleAfter = 30 * time.Second
	}
	r := &Registry{cfg: cfg, pods: map[string]*entry{}}
	r.byAddr.Store(&map[netip.Addr]*engine.Pod{})
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(collector{r}); err != nil {
			return nil, fmt.Errorf("register metrics of pods: %w", err)
		}
	}
	return r, nil
}

// At returns the pod of this node with that address, for the hand-over between two pods of a node, or
// nil. A retiring pod is still one: its inbound is captured, and the way back from its application
// stands, until Del. A pod that the agent has not named in this session is not: its address may be
// another's by now. Takes no lock.
func (r *Registry) At(addr netip.Addr) *engine.Pod { return (*r.byAddr.Load())[addr] }

// ByUID returns the pod with that uid that is served, or nil. A retiring pod is not one.
func (r *Registry) ByUID(uid string) *engine.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.pods[uid]; e != nil && !e.retiring {
		return e.pod
	}
	return nil
}

// Synced reports whether the agent is connected and has named all its pods.
func (r *Registry) Synced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.synced
}

// Info is one pod for the admin pages.
type Info struct {
	Pod     *engine.Pod
	State   string // serving, retiring or unclaimed
	Waiting string // what it waits for, or ""
	Added   time.Time
}

// List returns the pods by namespace and name.
func (r *Registry) List() []Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Info
	for _, e := range r.pods {
		out = append(out, Info{Pod: e.pod, State: r.state(e), Waiting: r.waiting(e.pod, e.retiring), Added: e.added})
	}
	slices.SortFunc(out, func(a, b Info) int { return comparePods(a.Pod, b.Pod) })
	return out
}

func (r *Registry) state(e *entry) string {
	switch {
	case r.synced && e.session != r.session:
		return "unclaimed"
	case e.retiring:
		return "retiring"
	}
	return "serving"
}

// waiting says what a pod lacks. Until every proxy has heard of it (the announcement), some still call
// it in plaintext, which a STRICT policy refuses.
func (r *Registry) waiting(p *engine.Pod, retiring bool) string {
	if !r.cfg.Known(p.Workload) {
		return "workload record"
	}
	if c, _ := r.cfg.Certs.Get(p.Identity); c == nil {
		return "certificate"
	}
	if !retiring && !r.cfg.Captures.Announced(p.Workload) {
		return "announcement"
	}
	return ""
}

// publish tells everyone after a change. Called with r.mu held.
func (r *Registry) publish() {
	addrs := map[netip.Addr]*engine.Pod{}
	captured := make([]string, 0, len(r.pods))
	for _, e := range slices.SortedFunc(maps.Values(r.pods), func(a, b *entry) int { return int(a.order) - int(b.order) }) {
		if !e.retiring {
			captured = append(captured, e.pod.Workload)
		}
		if r.synced && e.session != r.session {
			continue
		}
		for _, a := range e.pod.Addrs {
			addrs[a] = e.pod // the newest has it
		}
	}
	r.byAddr.Store(&addrs)
	r.cfg.Captures.SetCaptured(captured)
}
