// Package agent decides who on this node is in the mesh: it watches pods, enrols their network
// namespaces, hands these to the node's proxy and guards the node's side of redirection.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/zds"
	"github.com/ambitmesh/ambit/bpf"
)

// Config is everything that an agent needs.
type Config struct {
	Node, Instance, Version string
	BPFFS                   string // mounted there if it is not
	CgroupRoot              string // "": the host's cgroup2 mount
	RunDir                  string
	ProbeCgroup             string        // a directory, "node", or "": the owner of port 10250
	ProxyAbsentAfter        time.Duration // 0: 10 s
	UnusedAfter             time.Duration // how long a retiring pod must be unused if the mesh does not answer; 0: 60 s
	StrayAfter              time.Duration // how long after the start pods that nobody knows are taken for gone; 0: 30 s
	LegLimit                uint32        // live connections to one pod's applications; 0: 32768
	HoldNew                 bool          // pods that are first seen labelled are captured at once: until a proxy serves them nothing passes
	Changed                 func()        // called when some pod's status changed; it must not wait; nil: nobody
	World                   World
	Log                     *slog.Logger
	Now                     func() time.Time // nil: time.Now
	Registry                *prometheus.Registry
}

func (c *Config) fill() {
	if c.ProxyAbsentAfter == 0 {
		c.ProxyAbsentAfter = 10 * time.Second
	}
	if c.UnusedAfter == 0 {
		c.UnusedAfter = time.Minute
	}
	if c.StrayAfter == 0 {
		c.StrayAfter = 30 * time.Second
	}
	if c.LegLimit == 0 {
		c.LegLimit = 1 << 15
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// Agent is one node's agent.
type Agent struct {
	cfg      Config
	log      *slog.Logger
	mesh     *bpf.Mesh
	cgroups  cgroups
	host     *netns.NS
	features []Feature
	started  time.Time
	events   *events
	listener *net.UnixListener
	proxies  *proxies
	direct   *directs

	mu      sync.Mutex
	pods    map[string]*pod // by UID
	owners  map[string]*pod // of addresses and network namespaces
	view    View
	synced  chan struct{} // closed with the first view
	leaving bool          // every pod is to be released
	probes  ProbeStatus
	probeID uint64 // of probes.Cgroup

	workers sync.WaitGroup
}

// New checks the kernel, takes the instance's pins over or makes them, and opens the ZDS socket.
func New(cfg Config) (*Agent, error) {
	cfg.fill()
	a := &Agent{
		cfg: cfg, log: cfg.Log, started: cfg.Now(),
		pods: map[string]*pod{}, owners: map[string]*pod{},
		features: Features(cfg.CgroupRoot, cfg.BPFFS),
		events:   newEvents(), synced: make(chan struct{}),
	}
	if err := Missing(a.features); err != nil {
		return nil, fmt.Errorf("this machine cannot run the agent: %w", err)
	}
	if err := a.open(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *Agent) open() (err error) {
	if a.cgroups, err = findCgroups(a.cfg.CgroupRoot); err != nil {
		return err
	}
	if a.host, err = netns.Self(); err != nil {
		return err
	}
	if err := errors.Join(mountBPFFS(a.cfg.BPFFS), openSysctls()); err != nil {
		return err
	}
	a.mesh, err = bpf.Load(bpf.Options{BPFFS: a.cfg.BPFFS, Instance: a.cfg.Instance, Cgroup: a.cgroups.root})
	if err != nil {
		return fmt.Errorf("instance %s: %w", a.cfg.Instance, err)
	}
	a.proxies = newProxies(a)
	if a.direct, err = newDirects(a); err != nil {
		return err
	}
	if err := a.findProbes(); err != nil {
		return err
	}
	if a.cfg.Registry != nil {
		if err := a.cfg.Registry.Register(&collector{a}); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	a.listener, err = zds.Listen(filepath.Join(a.cfg.RunDir, "zds", "zds.sock"))
	return err
}

// Close gives up this process's handles. Pods stay captured: the pins stay.
func (a *Agent) Close() error {
	var errs []error
	if a.listener != nil {
		errs = append(errs, ignoreClosed(a.listener.Close()))
	}
	if a.proxies != nil {
		a.proxies.vault.close()
	}
	if a.host != nil {
		errs = append(errs, a.host.Close())
	}
	if a.mesh != nil {
		errs = append(errs, a.mesh.Close())
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Run works until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.cfg.World.Watch(ctx, func(v View) { a.apply(ctx, v) }) })
	server := &zds.Server{Log: a.log, Handler: a.proxies, Now: a.cfg.Now, Refused: a.events.counter("zds_refused")}
	g.Go(func() error { return server.Run(ctx, a.listener) })
	g.Go(func() error { a.guard(ctx); return nil })
	err := g.Wait()
	a.workers.Wait()
	for _, p := range a.all() {
		err = errors.Join(err, p.letGo())
	}
	return err
}

// apply starts, changes and ends pods after a change of the world.
func (a *Agent) apply(ctx context.Context, v View) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.view = v
	a.applyLocked(ctx, v)
	if !a.Ready() {
		close(a.synced)
	}
}

func (a *Agent) applyLocked(ctx context.Context, v View) {
	seen := map[string]bool{}
	for _, obj := range v.Pods {
		if obj.UID == "" || seen[obj.UID] {
			continue
		}
		seen[obj.UID] = true
		w := a.wish(v, obj)
		p := a.pods[obj.UID]
		if p == nil {
			if obj.Finished {
				continue
			}
			p = newPod(a, obj, w)
			p.hold = a.cfg.HoldNew && w.desired == DesiredAmbient
			a.pods[obj.UID] = p
			a.workers.Go(func() { p.run(ctx) })
			continue
		}
		p.want(obj, w, obj.Finished)
	}
	for uid, p := range a.pods {
		if !seen[uid] {
			p.want(p.object(), wish{desired: DesiredNone, why: "the pod is gone"}, true)
		}
	}
}

// forget drops a pod whose worker has released it. The pod may have come back meanwhile.
func (a *Agent) forget(ctx context.Context, p *pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pods[p.uid] == p {
		delete(a.pods, p.uid)
		a.applyLocked(ctx, a.view)
	}
}

// all lists the pods.
func (a *Agent) all() []*pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*pod, 0, len(a.pods))
	for _, p := range a.pods {
		out = append(out, p)
	}
	return out
}

func (a *Agent) wakeAll() {
	for _, p := range a.all() {
		p.poke()
	}
}

// claim makes p the owner of a namespace and its addresses, or says whose they are.
func (a *Agent) claim(p *pod, cookie uint64, addrs netns.Addrs) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	things := []string{namespaceKey(cookie)}
	for _, addr := range addrs.Valid() {
		things = append(things, "address "+addr.String())
	}
	for _, x := range things {
		if o := a.owners[x]; o != nil && o != p {
			o.poke()
			return fmt.Errorf("%s still belongs to pod %s", x, o.uid)
		}
	}
	for _, x := range things {
		a.owners[x] = p
	}
	return nil
}

func namespaceKey(cookie uint64) string { return fmt.Sprintf("network namespace %d", cookie) }

// claimFree makes p the owner of a namespace that nobody owns.
func (a *Agent) claimFree(p *pod, cookie uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := namespaceKey(cookie)
	if o := a.owners[key]; o != nil && o != p {
		return false
	}
	a.owners[key] = p
	return true
}

func (a *Agent) unclaim(p *pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.owners, func(_ string, o *pod) bool { return o == p })
}

// Ready says whether the agent has seen the world.
func (a *Agent) Ready() bool {
	select {
	case <-a.synced:
		return true
	default:
		return false
	}
}
