package loop

import (
	"sync"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

const registryShards = 16

// registry holds every flow, by record.
type registry struct {
	shards [registryShards]struct {
		mu    sync.Mutex
		flows map[uint64]*flow
	}
}

func (r *registry) add(f *flow) {
	s := &r.shards[f.rec.ID%registryShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flows == nil {
		s.flows = map[uint64]*flow{}
	}
	s.flows[f.rec.ID] = f
}

func (r *registry) remove(f *flow) {
	s := &r.shards[f.rec.ID%registryShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flows, f.rec.ID)
}

func (r *registry) get(id uint64) *flow {
	s := &r.shards[id%registryShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flows[id]
}

func (r *registry) all() []*flow {
	var out []*flow
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for _, f := range s.flows {
			out = append(out, f)
		}
		s.mu.Unlock()
	}
	return out
}

// live counts the established ones.
func (r *registry) live() int {
	n := 0
	for _, f := range r.all() {
		if f.live.Load() {
			n++
		}
	}
	return n
}

// Each calls f for every established record until it returns false. f may call Kill.
func (e *Engine) Each(f func(*engine.Record) bool) {
	for _, fl := range e.flows.all() {
		if fl.live.Load() && !fl.show(f) {
			return
		}
	}
}

// Kill ends one established record.
func (e *Engine) Kill(id uint64, why reason.Reason) {
	if f := e.flows.get(id); f != nil && f.live.Load() {
		f.cancel(&outcome.End{Reason: why})
	}
}

// Recheck judges every established record again, and every tunnel connection's peer.
func (e *Engine) Recheck() {
	for _, f := range e.flows.all() {
		if f.live.Load() {
			f.rejudge()
		}
	}
	now := e.opts.Now()
	for _, p := range e.allPods() {
		own, _ := e.opts.Certs.Get(p.Identity)
		p.sessions.Keep(own, now)
		if own != nil {
			p.distrust(own, now)
		}
	}
}
