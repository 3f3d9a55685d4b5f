package loop

import (
	"crypto/x509"
	"iter"
	"sync"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

const registryShards = 16

// registry holds every flow, those whose record is whole and those whose record is kept apart.
type registry struct {
	shards [registryShards]registryShard
	spare  sync.Pool // of *[]*flow, for all
}

type registryShard struct {
	mu          sync.Mutex
	whole, kept flowList
}

func (r *registry) shard(id uint64) *registryShard { return &r.shards[id%registryShards] }

func (r *registry) add(f *flow) {
	s := r.shard(f.rec.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole.add(f.rec.ID, f)
}

func (r *registry) remove(id uint64, f *flow) {
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(f).remove(f)
}

// of is the list that a flow is in. mu is held.
func (s *registryShard) of(f *flow) *flowList {
	if f.seatKept {
		return &s.kept
	}
	return &s.whole
}

// move notes that a flow's record is kept now, or whole again.
func (r *registry) move(id uint64, f *flow, kept bool) {
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.of(f); f.seatKept != kept && l.has(f) {
		l.remove(f)
		f.seatKept, f.seatAge = kept, 0
		s.of(f).add(id, f)
	}
}

// leave has settle pass a flow over from now on.
func (r *registry) leave(id uint64, f *flow) {
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.seatAge = settleNever
}

func (r *registry) get(id uint64) *flow {
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.whole.get(id); f != nil {
		return f
	}
	return s.kept.get(id)
}

// all is every flow that there is when it is asked for.
func (r *registry) all() iter.Seq[*flow] {
	return func(yield func(*flow) bool) {
		room, _ := r.spare.Get().(*[]*flow)
		if room == nil {
			room = new([]*flow)
		}
		list := r.appendTo((*room)[:0])
		for _, f := range list {
			if !yield(f) {
				break
			}
		}
		clear(list)
		*room = list
		r.spare.Put(room)
	}
}

func (r *registry) appendTo(list []*flow) []*flow {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		list = s.kept.appendTo(s.whole.appendTo(list))
		s.mu.Unlock()
	}
	return list
}

// live counts the established ones.
func (r *registry) live() (n int) {
	for f := range r.all() {
		if f.live.Load() {
			n++
		}
	}
	return n
}

// Each calls f for every established record until it returns false. f may call Kill.
func (e *Engine) Each(f func(*engine.Record) bool) {
	var room engine.Record
	for fl := range e.flows.all() {
		if fl.live.Load() && !fl.show(&room, f) {
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
	var room engine.Record
	for f := range e.flows.all() {
		if f.live.Load() {
			f.rejudge(&room)
		}
	}
	now := e.opts.Now()
	var roots []*x509.CertPool
	for _, p := range e.allPods() {
		own, _ := e.opts.Certs.Get(p.Identity)
		p.sessions.Keep(own, now)
		if own != nil {
			roots = append(roots, own.Roots)
			p.distrust(own, now)
		}
	}
	e.verified.Keep(roots)
}
