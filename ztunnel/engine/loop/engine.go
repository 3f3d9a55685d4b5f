package loop

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/gate"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/resume"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// ErrFIPS says that this engine does not do what FIPS 140-3 asks for.
var ErrFIPS = errors.New("FIPS 140-3 mode: the loop engine has its own record layer; use the std engine")

// Engine implements engine.Engine.
type Engine struct {
	opts    engine.Options
	home    func() (*os.File, error) // the namespace of the process
	port    func(try int) uint16     // to try for a leg with the client's address
	workers []*worker
	next    atomic.Uint32 // whose turn it is to get a pod

	lastID   atomic.Uint64
	flows    registry
	old      []*flow // settle's
	settled  int     // since memory was given back; settle's
	growth   growth
	legs     legs.Set
	sessions *resume.Node
	verified identity.Verified
	budget   budget       // of handshakes
	watch    poll.Watch   // of all workers
	mayQueue atomic.Int64 // bytes, all tunnels together
	hotBytes int64        // see the constant; before the first connection
	work     gate.Gate    // flows, and peers' connections
	draining atomic.Bool

	mu     sync.Mutex
	closed bool
	pods   map[*engine.Pod]*pod

	stopSweep context.CancelFunc
	swept     chan struct{} // closed when the sweeper has ended
	ended     chan struct{} // closed when the workers have
}

var _ engine.Engine = (*Engine)(nil)

// New makes an engine that serves nothing yet. It runs until Close or the end of Drain.
func New(o engine.Options) (*Engine, error) {
	if fips140.Enabled() {
		return nil, ErrFIPS
	}
	ctx, cancel := context.WithCancel(context.Background())
	o = o.WithDefaults()
	e := &Engine{
		opts:      o,
		sessions:  resume.NewNode(o.Resume, o.Now),
		home:      sync.OnceValues(netsock.OpenHome),
		port:      legs.Port,
		budget:    newBudget(),
		pods:      map[*engine.Pod]*pod{},
		watch:     poll.Watch{Most: watching(o)},
		hotBytes:  hotBytes,
		growth:    growth{more: make(chan struct{}, 1)},
		stopSweep: cancel,
		swept:     make(chan struct{}),
		ended:     make(chan struct{}),
	}
	e.mayQueue.Store(nodeQueued)
	for range e.opts.Loops {
		w, err := newWorker(e)
		if err != nil {
			cancel()
			e.stopWorkers()
			return nil, err
		}
		e.workers = append(e.workers, w)
	}
	go e.sweep(ctx)
	return e, nil
}

func (e *Engine) stopWorkers() {
	for _, w := range e.workers {
		w.Stop()
		w.release()
	}
}

// podOf returns what the engine keeps of a pod that it serves, or nil.
func (e *Engine) podOf(p *engine.Pod) *pod {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pods[p]
}

func (e *Engine) allPods() []*pod {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*pod, 0, len(e.pods))
	for _, p := range e.pods {
		out = append(out, p)
	}
	return out
}

// enrolled returns what the engine keeps of a pod, from now on if it is new, unless the engine is ending.
func (e *Engine) enrolled(ep *engine.Pod) (*pod, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.draining.Load() {
		return nil, net.ErrClosed
	}
	p := e.pods[ep]
	if p == nil {
		p = newPod(e, ep)
		e.pods[ep] = p
	}
	return p, nil
}

// Remove ends all that the pod has, and the legs of others into it.
func (e *Engine) Remove(ep *engine.Pod, why reason.Reason) {
	p := e.podOf(ep)
	if p == nil {
		return
	}
	p.end(&outcome.End{Reason: why})
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pods, ep)
}

// Drain stops accepting and waits for the last flow; those left when ctx ends are cut.
func (e *Engine) Drain(ctx context.Context) error {
	e.mu.Lock()
	e.draining.Store(true) // no listener is added from here on
	e.mu.Unlock()
	for _, p := range e.allPods() {
		p.drain()
	}
	err := e.work.Wait(ctx)
	if err != nil {
		err = fmt.Errorf("drain: cut %d connections: %w", e.flows.live(), err)
	}
	e.shutdown()
	return err
}

// Close cuts everything at once.
func (e *Engine) Close() error {
	e.shutdown()
	return nil
}

func (e *Engine) shutdown() {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	e.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range e.allPods() {
		wg.Go(func() { p.end(&outcome.End{Reason: reason.Drain}) })
	}
	wg.Wait()
	e.stopSweep()
	<-e.swept
	if !first {
		<-e.ended
		return
	}
	e.stopWorkers()
	if home, err := e.home(); err == nil {
		_ = home.Close()
	}
	close(e.ended)
}

const sweepEvery = time.Second

// sweep looks after what no event announces: certificates that end, tunnels that idle, queues that grow,
// connections that last.
func (e *Engine) sweep(ctx context.Context) {
	defer close(e.swept)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.growth.more:
			e.growth.tidy()
		case <-tick.C:
			now := e.opts.Now()
			for _, p := range e.allPods() {
				p.sweep(now)
			}
			e.verified.Expire(now)
			e.boundQueues()
			e.settle()
			e.growth.rest()
		}
	}
}
