package std

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/gate"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/resume"
)

// pod is what the engine keeps of a pod that it serves.
type pod struct {
	*engine.Pod
	e        *Engine
	ctx      context.Context // ends with Remove; the cause is an *outcome.End
	cancel   context.CancelCauseFunc
	inside   gate.Gate // whoever may use the pod's namespace, or a socket in it
	loops    gate.Gate // accept loops
	pool     pool
	sessions *resume.Pod

	mu        sync.Mutex
	gone      bool
	listeners map[*net.TCPListener]struct{}
	servers   map[*server]struct{} // connections of peers
}

func newPod(e *Engine, ep *engine.Pod) *pod {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &pod{Pod: ep, e: e, ctx: ctx, cancel: cancel, sessions: e.sessions.Pod(),
		listeners: map[*net.TCPListener]struct{}{}, servers: map[*server]struct{}{}}
	p.pool.init(p)
	return p
}

func (p *pod) addListener(ln *net.TCPListener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || !p.inside.Enter() {
		return false
	}
	p.loops.Enter()
	p.listeners[ln] = struct{}{}
	return true
}

func (p *pod) dropListener(ln *net.TCPListener) {
	_ = ln.Close()
	p.mu.Lock()
	delete(p.listeners, ln)
	p.mu.Unlock()
	p.loops.Leave()
	p.inside.Leave()
}

// addServer reports whether the connection may serve; if so it must be dropped.
func (p *pod) addServer(s *server) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	p.servers[s] = struct{}{}
	return true
}

func (p *pod) dropServer(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.servers, s)
}

func (p *pod) allServers() []*server {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*server, 0, len(p.servers))
	for s := range p.servers {
		out = append(out, s)
	}
	return out
}

func (p *pod) closeListeners() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ln := range p.listeners {
		_ = ln.Close()
	}
}

// drain stops accepting and says goodbye to peers. What runs goes on.
func (p *pod) drain(ctx context.Context) {
	p.closeListeners()
	_ = p.loops.Wait(ctx) // what they accepted last is counted as work now
	for _, s := range p.allServers() {
		s.conn.GoAway()
	}
}

// end cuts all that the pod has, and returns when nothing of it is left.
func (p *pod) end(why *outcome.End) {
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.inside.Close()
	p.cancel(why)
	p.sessions.Close()
	p.closeListeners()
	var wg sync.WaitGroup
	for _, s := range p.allServers() {
		wg.Go(func() { _ = s.conn.Close() })
	}
	wg.Go(p.pool.close)
	wg.Wait()
	_ = p.inside.Wait(context.Background())
}

// sweep is called every second.
func (p *pod) sweep(now time.Time) {
	p.pool.sweep(now)
	for _, s := range p.allServers() {
		if now.After(s.expires) {
			s.conn.GoAway() // the peer has a new certificate by now, or no right to go on
		}
	}
	p.boundQueues()
}
