package loop

import (
	"net"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// carry has a connection carry tunnels on its worker, or closes it. then is told there; here is nil if the
// worker has ended.
func (p *pod) carry(c *carrier, accepts bool, then func(err error, here *worker)) {
	if !c.w.Post(func() { then(p.begin(c, accepts), c.w) }) {
		then(net.ErrClosed, nil)
	}
}

// begin is carry on the worker.
func (p *pod) begin(c *carrier, accepts bool) error {
	err := net.ErrClosed
	if p.addCarrier(c) {
		err = c.start(accepts)
	}
	if err != nil {
		c.close()
		return err
	}
	c.readAhead()
	c.note()
	if accepts && p.e.draining.Load() {
		c.mux.GoAway()
	}
	return nil
}

// readAhead takes in what was read with the end of the handshake.
func (c *carrier) readAhead() {
	if len(c.ahead) > 0 {
		b := c.w.ciphertext
		n := copy(b, c.ahead)
		c.ahead = nil
		c.open(b[:n])
	}
}

// nodeQueued is how many bytes all tunnels of the node may queue.
const nodeQueued = 512 << 20

// addCarrier reports whether the connection may carry.
func (p *pod) addCarrier(c *carrier) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone.Load() != nil {
		return false
	}
	p.carriers[c] = struct{}{}
	return true
}

func (p *pod) dropCarrier(c *carrier) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.carriers, c)
}

func (p *pod) allCarriers() []*carrier {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*carrier, 0, len(p.carriers))
	for c := range p.carriers {
		out = append(out, c)
	}
	return out
}

// distrust says goodbye to peers that no longer chain to the roots.
func (p *pod) distrust(own *identity.Cert, now time.Time) {
	for _, c := range p.allCarriers() {
		if c.peer.Trusted(own, now) {
			continue
		}
		if c.of == nil {
			p.pool.discard(c)
		} else {
			c.goAway()
		}
	}
}

// queued counts what the pod's tunnels have queued.
func (p *pod) queued() (sum, most int64, worst *carrier) {
	for _, c := range p.allCarriers() {
		n := c.queued.Load()
		if sum += n; n > most {
			most, worst = n, c
		}
	}
	p.Usage.Queued.Store(sum)
	return sum, most, worst
}

// boundQueues cuts the connection with most queued, and with it the readers that are too slow, where a pod
// is beyond its budget, or all of them together are beyond the node's.
func (e *Engine) boundQueues() {
	var total, longest int64
	var worst *carrier
	for _, p := range e.allPods() {
		sum, most, c := p.queued()
		if p.Limits.Queued > 0 && sum > p.Limits.Queued && c != nil {
			e.overflow(c, most, "the pod's tunnels have queued too much")
			continue
		}
		if total += sum; most > longest {
			longest, worst = most, c
		}
	}
	if total > e.mayQueue.Load() && worst != nil {
		e.overflow(worst, longest, "the node's tunnels have queued too much")
	}
}

func (e *Engine) overflow(c *carrier, queued int64, detail string) {
	e.opts.Log.Warn("cut the tunnel connection with the longest queue", "pod", c.p.UID, "queued", queued, "why", detail)
	c.post(func() { c.overflow(detail) })
}

// overflow ends the flows that a connection carries, and the connection.
func (c *carrier) overflow(detail string) {
	for f := range c.p.e.flows.all() {
		if f.w.Load() == c.w && (f.to.c == c || f.from.c == c) {
			f.fail(&outcome.End{Reason: reason.Limit, Detail: detail})
		}
	}
	c.mux.Close()
}
