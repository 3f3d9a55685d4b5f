package xds

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Run does what happens by time alone, until ctx ends.
func (c *Captures) Run(ctx context.Context) {
	every := time.NewTicker(max(min(time.Second, c.opts.OrphanGrace/4, c.opts.AckWait/4, c.opts.StartGrace/4), time.Millisecond))
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			c.tick()
		}
	}
}

func (c *Captures) confirmAll() {
	for uid := range c.waiting {
		c.confirm(uid, c.pods[uid])
	}
}

// confirm tells the streams that wait for the pod's state, if all know it.
func (c *Captures) confirm(uid string, p *pod) {
	if p == nil {
		delete(c.waiting, uid)
		return
	}
	_, stale := c.stale[uid]
	if p.resolved && !stale && c.allKnow(p) {
		for px, w := range p.waiters {
			if here := p.on == px.node; (w == wishCaptured) == here {
				px.known[uid] = here
				px.signal()
				delete(p.waiters, px)
			}
		}
	}
	if len(p.waiters) == 0 {
		delete(c.waiting, uid)
		if len(p.claims) == 0 && p.on == "" && !stale {
			delete(c.pods, uid)
		}
	}
}

func (p *proxy) signal() {
	select {
	case p.wake <- struct{}{}:
	default: // there is a token
	}
}

// allKnow reports whether every proxy that counts has acknowledged the pod's state.
func (c *Captures) allKnow(p *pod) bool {
	now := c.opts.Now()
	all := true
	for px := range c.proxies {
		if px.stalled || px.acked >= p.position {
			continue
		}
		from := p.at
		if px.since.After(from) {
			from = px.since
		}
		// One that comes and goes is waited for twice as long at most.
		if now.Sub(from) <= c.opts.AckWait && now.Sub(p.at) <= 2*c.opts.AckWait {
			all = false
			continue
		}
		px.stalled = true
	}
	if p.on != "" {
		return all
	}
	if !all || !c.nobodyLost(p, now) {
		p.quiet = time.Time{}
		return false
	}
	if p.quiet.IsZero() {
		p.quiet = now
	}
	return now.Sub(p.quiet) >= c.opts.RetireLag
}

// nobodyLost reports whether no proxy is likely to come back that believes the pod captured.
func (c *Captures) nobodyLost(p *pod, now time.Time) bool {
	if now.Sub(c.started) < c.opts.StartGrace {
		return false
	}
	for _, n := range c.nodes {
		if n.live == 0 && n.acked < p.position && now.Sub(n.since) < c.opts.StartGrace {
			return false
		}
	}
	return true
}

// confirmed returns what the stream has not been told yet: pods known as captured, and as plain.
func (c *Captures) confirmed(p *proxy) (captured, plain []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, uid := range slices.Sorted(maps.Keys(p.known)) {
		if p.known[uid] {
			captured = append(captured, uid)
		} else {
			plain = append(plain, uid)
		}
	}
	clear(p.known)
	return captured, plain
}
