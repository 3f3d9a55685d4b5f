package std

import (
	"sync"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// registry holds the flows whose leg was made, by record.
type registry struct {
	mu    sync.Mutex
	flows map[uint64]*flow
}

func (r *registry) add(f *flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flows == nil {
		r.flows = map[uint64]*flow{}
	}
	r.flows[f.rec.ID] = f
}

func (r *registry) remove(f *flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flows, f.rec.ID)
}

func (r *registry) get(id uint64) *flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flows[id]
}

func (r *registry) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.flows)
}

func (r *registry) all() []*flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*flow, 0, len(r.flows))
	for _, f := range r.flows {
		out = append(out, f)
	}
	return out
}

// Each calls f for every established record until it returns false. f may call Kill.
func (e *Engine) Each(f func(*engine.Record) bool) {
	for _, fl := range e.live.all() {
		if !fl.show(f) {
			return
		}
	}
}

// Kill ends one established record.
func (e *Engine) Kill(id uint64, why reason.Reason) {
	if f := e.live.get(id); f != nil {
		f.cancel(&outcome.End{Reason: why})
	}
}

// Recheck judges every established record again, and every tunnel connection's peer.
func (e *Engine) Recheck() {
	for _, f := range e.live.all() {
		f.rejudge()
	}
	now := e.opts.Now()
	for _, p := range e.allPods() {
		c, _ := e.opts.Certs.Get(p.Identity)
		p.sessions.Keep(c, now)
		if c == nil {
			continue
		}
		for _, s := range p.allServers() {
			if !s.peer.Trusted(c, now) {
				s.conn.GoAway()
			}
		}
		p.pool.distrust(c, now)
	}
}
