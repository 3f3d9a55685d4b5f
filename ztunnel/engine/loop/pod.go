package loop

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/gate"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/resume"
)

// pod is what the engine keeps of a pod that it serves. It is for every goroutine.
type pod struct {
	*engine.Pod
	e        *Engine
	w        *worker         // of its listeners
	ctx      context.Context // of handshakes and their dials; ends with Remove, the cause is an *outcome.End
	cancel   context.CancelCauseFunc
	gone     atomic.Pointer[outcome.End] // why it is being removed
	inside   gate.Gate                   // whoever may use the pod's namespace, or a socket in it
	stock    stock
	pool     pool
	sessions *resume.Pod

	mu        sync.Mutex
	carriers  map[*carrier]struct{} // that live
	listeners map[*listener]struct{}
}

func newPod(e *Engine, ep *engine.Pod) *pod {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &pod{Pod: ep, e: e, ctx: ctx, cancel: cancel, sessions: e.sessions.Pod(), listeners: map[*listener]struct{}{}, carriers: map[*carrier]struct{}{}}
	p.w = e.workers[int(e.next.Add(1))%len(e.workers)]
	p.stock.p = p
	p.pool.p, p.pool.targets = p, map[poolKey]*target{}
	return p
}

func (p *pod) addListener(l *listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone.Load() != nil || !p.inside.Enter() {
		return false
	}
	p.listeners[l] = struct{}{}
	return true
}

// dropListener is called once, when the listener is closed.
func (p *pod) dropListener(l *listener) {
	p.mu.Lock()
	delete(p.listeners, l)
	p.mu.Unlock()
	p.inside.Leave()
}

// closeListeners returns when what they accepted last is counted as work.
func (p *pod) closeListeners() {
	p.w.await(func() {
		p.mu.Lock()
		all := make([]*listener, 0, len(p.listeners))
		for l := range p.listeners {
			all = append(all, l)
		}
		p.mu.Unlock()
		for _, l := range all {
			l.close()
		}
	})
}

// drain stops accepting and says goodbye to peers. What runs goes on.
func (p *pod) drain() {
	p.closeListeners()
	for _, c := range p.allCarriers() {
		if c.of != nil {
			c.goAway()
		}
	}
}

// end cuts all that the pod has, and returns when nothing of it is left.
func (p *pod) end(why *outcome.End) {
	p.mu.Lock()
	p.gone.CompareAndSwap(nil, why)
	p.mu.Unlock()
	p.inside.Close()
	p.cancel(why)
	p.sessions.Close()
	p.closeListeners()
	for f := range p.e.flows.all() {
		if f.p == p || f.dest.Load() == p {
			f.cancel(why)
		}
	}
	p.pool.close()
	for _, c := range p.allCarriers() {
		c.cut()
	}
	_ = p.inside.Wait(context.Background())
	p.stock.close()
}

// sweep is called every second.
func (p *pod) sweep(now time.Time) {
	p.stock.shrink()
	p.pool.sweep(now)
}
