package xds

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// CaptureOptions configure Captures. The zero value is usable.
type CaptureOptions struct {
	Now         func() time.Time // nil: time.Now
	OrphanGrace time.Duration    // see the package; 0: 60 s
	StartGrace  time.Duration    // longer than a proxy's longest back-off; 0: 20 s
	AckWait     time.Duration    // 0: 60 s
	// RetireLag is how much longer than until every proxy here knows a retirement is not confirmed: for
	// the proxies of other controllers. 0 is for one alone.
	RetireLag time.Duration

	// Wanted tells whether labels ask for the pod to be captured; nil: all are. Called under a lock.
	Wanted        func(uid string) bool
	UnwantedGrace time.Duration // see the package; 0: 15 s
}

// Captures knows which pods the proxies capture and what is to be confirmed to whom. Safe for
// concurrent use. Its owner takes what is stale (Stale), resolves it against where the pods run
// (Resolve), and tells when the outcome is in the cache (Applied).
type Captures struct {
	opts    CaptureOptions
	started time.Time

	mu       sync.Mutex
	blank    bool // started without the predecessor's claims
	pods     map[string]*pod
	proxies  map[*proxy]struct{}
	nodes    map[string]*node
	stale    map[string]struct{} // uids to resolve
	changed  chan struct{}       // one token: stale is not empty
	waiting  map[string]struct{} // uids with something to confirm
	orphaned map[string]struct{} // uids with an orphaned claim
}

// pod is what is known of one workload.
type pod struct {
	claims   map[string]*claim // by node
	waiters  map[*proxy]wish
	runsOn   string    // the node, by the last Resolve
	resolved bool      // the following say something
	on       string    // the node where the pod is captured, "" if it is plain; as the cache has it
	position uint64    // of the cache, by which proxies know
	at       time.Time // when it was applied
	quiet    time.Time // since when every proxy here knows that it is plain
}

// claim is a node's word that it captures a pod.
type claim struct {
	by     map[*proxy]struct{}
	orphan bool
	since  time.Time // it is an orphan
}

type wish uint8

const (
	wishCaptured wish = iota
	wishPlain
)

// proxy is one stream.
type proxy struct {
	node    string
	since   time.Time
	acked   uint64
	stalled bool // counts no longer, until it acknowledges
	known   map[string]bool
	wake    chan struct{} // one token: confirmed is not empty
}

// node is a machine with a live stream, or one that was lost lately.
type node struct {
	live  int
	since time.Time // when it came back, or went
	acked uint64    // when it went
}

// NewCaptures returns an empty set.
func NewCaptures(o CaptureOptions) *Captures {
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, d := range []struct {
		d   *time.Duration
		def time.Duration
	}{{&o.OrphanGrace, time.Minute}, {&o.StartGrace, 20 * time.Second}, {&o.AckWait, time.Minute}, {&o.UnwantedGrace, 15 * time.Second}} {
		if *d.d == 0 {
			*d.d = d.def
		}
	}
	if o.Wanted == nil {
		o.Wanted = func(string) bool { return true }
	}
	return &Captures{opts: o, started: o.Now(), blank: true, pods: map[string]*pod{}, proxies: map[*proxy]struct{}{},
		nodes: map[string]*node{}, stale: map[string]struct{}{}, changed: make(chan struct{}, 1),
		waiting: map[string]struct{}{}, orphaned: map[string]struct{}{}}
}

// Restore takes in the claims of an earlier process: node to uids. All are orphans.
func (c *Captures) Restore(claims map[string][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blank = false
	for n, uids := range claims {
		for _, uid := range uids {
			c.pod(uid).claims[n] = &claim{by: map[*proxy]struct{}{}, orphan: true, since: c.started}
			c.orphaned[uid] = struct{}{}
			c.touch(uid)
		}
	}
}

// Begin says that this is the mesh's first controller: no proxy knows anything yet, so nobody has to be
// waited for.
func (c *Captures) Begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blank, c.started = false, time.Time{}
}

// Claims returns node to uids, for Restore.
func (c *Captures) Claims() map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]string{}
	for _, uid := range slices.Sorted(maps.Keys(c.pods)) {
		for n := range c.pods[uid].claims {
			out[n] = append(out[n], uid)
		}
	}
	return out
}

// Changed has a token while something is stale.
func (c *Captures) Changed() <-chan struct{} { return c.changed }

// Stale returns the uids to resolve, once.
func (c *Captures) Stale() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Sorted(maps.Keys(c.stale))
	clear(c.stale)
	return out
}

// Resolve reports whether the pod, which runs on that node ("" if there is none), is captured there: by
// the word of the node's proxy or, where other controllers hear of other nodes, by a mark on the pod. It
// must be called for stale uids and for pods that came, went or changed.
func (c *Captures) Resolve(uid, onNode string, marked bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	marked = marked && onNode != ""
	p := c.pods[uid]
	if p == nil && marked {
		p = c.pod(uid)
	}
	if p == nil {
		return false
	}
	for n, cl := range p.claims {
		if n != onNode && cl.orphan {
			delete(p.claims, n)
		}
	}
	c.tidyOrphan(uid, p)
	p.runsOn = onNode
	return marked || p.claims[onNode] != nil
}

// Applied tells that the cache, at that position of addresses, says of the pod what Resolve returned.
func (c *Captures) Applied(uid string, captured bool, position uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pods[uid]
	if p == nil {
		return
	}
	on := ""
	if captured {
		on = p.runsOn
	}
	if !p.resolved || p.on != on {
		p.resolved, p.on, p.position, p.at, p.quiet = true, on, position, c.opts.Now(), time.Time{}
	}
	c.confirm(uid, p)
}

// Captured returns how many pods are announced.
func (c *Captures) Captured() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		if p.on != "" {
			n++
		}
	}
	return n
}

// unsure reports whether claims may be missing that will be repeated.
func (c *Captures) unsure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blank && c.opts.Now().Before(c.started.Add(c.opts.StartGrace))
}

func (c *Captures) pod(uid string) *pod {
	p := c.pods[uid]
	if p == nil {
		p = &pod{claims: map[string]*claim{}, waiters: map[*proxy]wish{}}
		c.pods[uid] = p
	}
	return p
}

func (c *Captures) touch(uid string) {
	c.stale[uid] = struct{}{}
	select {
	case c.changed <- struct{}{}:
	default: // there is a token
	}
}

func (c *Captures) tidyOrphan(uid string, p *pod) {
	for _, cl := range p.claims {
		if cl.orphan {
			return
		}
	}
	delete(c.orphaned, uid)
}
