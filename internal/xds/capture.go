package xds

import (
	"slices"
	"sync"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// Bounds of what is remembered of pods that are gone.
const (
	maxRetiring = 1 << 14 // not confirmed yet: a controller may not know the type at all
	maxPlain    = 1 << 13 // confirmed
)

// capture is what the controller has been told of captured pods and what it has confirmed.
type capture struct {
	wake chan struct{} // the set changed

	mu         sync.Mutex
	pods       map[string]*captured // captured and retiring ones
	retiring   int
	plain      map[string]bool // confirmed as plain
	plainOrder []string        // the oldest first
}

type captured struct {
	wanted    bool // else retiring
	announced bool // every proxy knows
	told      told // on this stream
}

type told uint8

const (
	nothing told = iota
	subscribed
	unsubscribed
)

func newCapture() *capture {
	return &capture{wake: make(chan struct{}, 1), pods: map[string]*captured{}, plain: map[string]bool{}}
}

func (c *capture) set(uids []string) {
	want := make(map[string]bool, len(uids))
	for _, uid := range uids {
		want[uid] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for uid, p := range c.pods {
		if p.wanted && !want[uid] {
			c.toRetire(uid)
		}
	}
	for uid := range want {
		c.toCapture(uid)
	}
	c.signal()
}

func (c *capture) retire(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.toRetire(uid)
	c.signal()
}

func (c *capture) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // the sender will look anyway
	}
}

func (c *capture) toCapture(uid string) {
	p := c.pods[uid]
	switch {
	case p == nil:
		p = &captured{}
		c.pods[uid] = p
	case !p.wanted:
		c.retiring--
	}
	p.wanted = true
	c.notPlain(uid)
}

func (c *capture) toRetire(uid string) {
	p := c.pods[uid]
	switch {
	case p != nil && !p.wanted:
		return
	case p == nil:
		p = &captured{}
		c.pods[uid] = p
	}
	p.wanted, p.announced = false, false
	c.notPlain(uid)
	if c.retiring++; c.retiring > maxRetiring {
		c.forgetOne(uid)
	}
}

// forgetOne gives up on some retiring pod; without a confirmation the agent waits out its time.
func (c *capture) forgetOne(not string) {
	for uid, p := range c.pods {
		if !p.wanted && uid != not {
			delete(c.pods, uid)
			c.retiring--
			return
		}
	}
}

// reset is called when a stream begins: nothing has been said on it.
func (c *capture) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		p.told = nothing
	}
	c.signal()
}

// request returns what has not been said on this stream yet, or nil. Retiring pods are named in an
// unsubscription on a new stream too: the controller confirms it once every proxy knows.
func (c *capture) request() *discovery.DeltaDiscoveryRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: CaptureType}
	for uid, p := range c.pods {
		switch {
		case p.wanted && p.told != subscribed:
			p.told = subscribed
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, uid)
		case !p.wanted && p.told != unsubscribed:
			p.told = unsubscribed
			req.ResourceNamesUnsubscribe = append(req.ResourceNamesUnsubscribe, uid)
		}
	}
	if len(req.ResourceNamesSubscribe)+len(req.ResourceNamesUnsubscribe) == 0 {
		return nil
	}
	slices.Sort(req.ResourceNamesSubscribe)
	slices.Sort(req.ResourceNamesUnsubscribe)
	return req
}

// answer takes in confirmations and returns the pods that are newly known as plain. A removal of a
// pod that is wanted again answers an older unsubscription and says nothing.
func (c *capture) answer(resp *discovery.DeltaDiscoveryResponse) (plain []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range resp.GetResources() {
		if p := c.pods[r.GetName()]; p != nil && p.wanted {
			p.announced = true
		}
	}
	for _, uid := range resp.GetRemovedResources() {
		if p := c.pods[uid]; p != nil && !p.wanted && p.told == unsubscribed {
			delete(c.pods, uid)
			c.retiring--
			c.setPlain(uid)
			plain = append(plain, uid)
		}
	}
	return plain
}

func (c *capture) setPlain(uid string) {
	c.plain[uid] = true
	c.plainOrder = append(c.plainOrder, uid)
	if len(c.plainOrder) > maxPlain {
		delete(c.plain, c.plainOrder[0])
		c.plainOrder = c.plainOrder[1:]
	}
}

func (c *capture) notPlain(uid string) {
	if c.plain[uid] {
		delete(c.plain, uid)
		c.plainOrder = slices.DeleteFunc(c.plainOrder, func(s string) bool { return s == uid })
	}
}

func (c *capture) plainKnown(uid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plain[uid]
}

func (c *capture) announced(uid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pods[uid]
	return p != nil && p.announced
}
