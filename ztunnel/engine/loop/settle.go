package loop

import (
	"math"
	"runtime/debug"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// settleAfter is for how many sweeps a record stays whole: most connections end before.
const (
	settleAfter = 2
	settleNever = math.MaxUint8
)

// settle keeps the records of flows that have lasted. Only the sweeper calls it. After a crowd of them it gives
// back what that has freed: the collector has marked it as live.
func (e *Engine) settle() {
	had := e.settled
	for i := range e.flows.shards {
		e.old = e.flows.shards[i].old(e.old[:0])
		e.settled += len(e.old)
		for _, f := range e.old {
			f.settle()
		}
		clear(e.old)
	}
	if e.settled == had && had >= growthStep {
		e.settled = 0
		debug.FreeOSMemory()
	}
	if cap(e.old) > mostOld {
		e.old = nil
	}
}

const mostOld = 256 // room that the sweeper keeps

// old appends the flows whose record has been whole for long.
func (s *registryShard) old(to []*flow) []*flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.whole {
		switch age := &r.f.seatAge; {
		case *age < settleAfter:
			*age++
		case *age != settleNever:
			to = append(to, r.f)
		}
	}
	return to
}

// settle keeps the flow's record, if it is established and its record fits.
func (f *flow) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || !f.established || f.rec == nil {
		return
	}
	id := f.rec.ID
	if f.kept = keep(f.rec, f.shared()); f.kept == nil {
		f.p.e.flows.leave(id, f)
		return
	}
	f.rec = nil
	f.p.e.flows.move(id, f, true)
}

// shared is what the flow shares with others; its tunnel does not change once it is established.
func (f *flow) shared() (s shared) {
	if c := f.from.c; c != nil {
		s.peer = &c.of.Peer
	}
	if c := f.to.c; c != nil {
		s.peers = &c.peers
	}
	return s
}

// whole is the flow's record, which is not kept any more. mu is held.
func (f *flow) whole() *engine.Record {
	if f.rec == nil {
		f.rec = f.view(&engine.Record{})
		f.kept = nil
	}
	return f.rec
}

// view is the flow's record for as long as mu is held: in room, if it is kept.
func (f *flow) view(room *engine.Record) *engine.Record {
	if f.rec != nil {
		return f.rec
	}
	f.kept.record(room, f.p.Pod)
	room.Bytes = &f.bytes
	return room
}
