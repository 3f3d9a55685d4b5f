package xds

import "time"

// connect registers a stream of a node.
func (c *Captures) connect(onNode string) *proxy {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &proxy{node: onNode, since: c.opts.Now(), known: map[string]bool{}, wake: make(chan struct{}, 1)}
	c.proxies[p] = struct{}{}
	n := c.nodes[onNode]
	if n == nil {
		n = &node{}
		c.nodes[onNode] = n
	}
	if n.live == 0 {
		n.since = p.since
	}
	n.live++
	return p
}

// disconnect forgets a stream; what only it claimed is orphaned.
func (c *Captures) disconnect(p *proxy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.proxies, p)
	if n := c.nodes[p.node]; n != nil {
		if n.live--; n.live == 0 {
			n.since, n.acked = c.opts.Now(), p.acked
		}
	}
	for uid, pod := range c.pods {
		delete(pod.waiters, p)
		cl := pod.claims[p.node]
		if cl == nil {
			continue
		}
		if delete(cl.by, p); len(cl.by) == 0 {
			cl.orphan, cl.since = true, c.opts.Now()
			c.orphaned[uid] = struct{}{}
		}
	}
	c.confirmAll()
}

// want takes in what a stream says of pods: that it captures some, and retires others.
func (c *Captures) want(p *proxy, capture, retire []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, uid := range capture {
		c.claim(p, uid)
	}
	for _, uid := range retire {
		c.unclaim(p, uid)
	}
}

func (c *Captures) claim(p *proxy, uid string) {
	pod := c.pod(uid)
	cl := pod.claims[p.node]
	if cl == nil {
		cl = &claim{by: map[*proxy]struct{}{}}
		pod.claims[p.node] = cl
	}
	cl.by[p], cl.orphan = struct{}{}, false
	c.tidyOrphan(uid, pod)
	c.await(p, uid, pod, wishCaptured)
}

// unclaim is the node's word that nobody on it captures the pod any more, except streams that still say so.
func (c *Captures) unclaim(p *proxy, uid string) {
	pod := c.pod(uid)
	if cl := pod.claims[p.node]; cl != nil {
		if delete(cl.by, p); len(cl.by) == 0 {
			delete(pod.claims, p.node)
		}
	}
	c.tidyOrphan(uid, pod)
	c.await(p, uid, pod, wishPlain)
}

func (c *Captures) await(p *proxy, uid string, pod *pod, w wish) {
	delete(p.known, uid) // a confirmation that was not sent yet answers an older word
	pod.waiters[p] = w
	c.waiting[uid] = struct{}{}
	c.touch(uid)
}

// acknowledged tells how far a stream has acknowledged addresses.
func (c *Captures) acknowledged(p *proxy, position uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if position <= p.acked {
		return
	}
	p.acked, p.stalled = position, false
	c.confirmAll()
}

// tick is for what happens by time alone.
func (c *Captures) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.opts.Now()
	for name, n := range c.nodes {
		if n.live == 0 && now.Sub(n.since) > c.opts.StartGrace {
			delete(c.nodes, name)
		}
	}
	for uid := range c.orphaned {
		c.expire(uid, now)
	}
	c.confirmAll()
}

// expire drops orphaned claims of nodes whose proxy is back and does not repeat them, and those of pods
// that are to be plain: with their proxy away nobody else can say so.
func (c *Captures) expire(uid string, now time.Time) {
	p := c.pods[uid]
	if p == nil {
		delete(c.orphaned, uid)
		return
	}
	for name, cl := range p.claims {
		n, alone := c.nodes[name], now.Sub(cl.since)
		silent := n != nil && n.live > 0 && min(now.Sub(n.since), alone) > c.opts.OrphanGrace
		if cl.orphan && (silent || alone > c.opts.UnwantedGrace && !c.opts.Wanted(uid)) {
			delete(p.claims, name)
			c.touch(uid)
		}
	}
	c.tidyOrphan(uid, p)
}
