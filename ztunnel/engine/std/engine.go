package std

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/gate"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/resume"
)

// Engine implements engine.Engine.
type Engine struct {
	opts engine.Options
	home func() (*os.File, error) // the namespace of the process
	port func(try int) uint16     // to try for a leg with the client's address

	lastID   atomic.Uint64
	live     registry
	legs     legs.Set
	sessions *resume.Node
	work     gate.Gate // flows and peers' connections
	draining atomic.Bool

	mu     sync.Mutex
	closed bool
	pods   map[*engine.Pod]*pod

	stopSweep context.CancelFunc
	swept     chan struct{} // closed when the sweeper has ended
}

var _ engine.Engine = (*Engine)(nil)

// New makes an engine that serves nothing yet. It runs until Close or the end of Drain.
func New(o engine.Options) *Engine {
	ctx, cancel := context.WithCancel(context.Background())
	o = o.WithDefaults()
	e := &Engine{
		opts:      o,
		sessions:  resume.NewNode(o.Resume, o.Now),
		home:      sync.OnceValues(netsock.OpenHome),
		port:      legs.Port,
		pods:      map[*engine.Pod]*pod{},
		stopSweep: cancel,
		swept:     make(chan struct{}),
	}
	go e.sweep(ctx)
	return e
}

// Serve begins to accept on l.
func (e *Engine) Serve(l engine.Listener) error {
	f := os.NewFile(uintptr(l.FD), "listener")
	if f == nil {
		return fmt.Errorf("serve %s of pod %s: descriptor %d: %w", l.Kind, l.Pod.UID, l.FD, os.ErrInvalid)
	}
	defer f.Close()
	// What is accepted inherits it: from the first moment an end that is not in order is a reset (newTCPLeg).
	if err := unix.SetsockoptLinger(l.FD, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("serve %s of pod %s: %w", l.Kind, l.Pod.UID, err)
	}
	if l.Kind != engine.Inbound { // what comes in as plaintext may be from anywhere
		_ = netsock.Unpace(l.FD) // else it is only slower
	}
	ln, err := net.FileListener(f) // of a duplicate
	if err != nil {
		return fmt.Errorf("serve %s of pod %s: %w", l.Kind, l.Pod.UID, err)
	}
	tl, ok := ln.(*net.TCPListener)
	if !ok {
		_ = ln.Close()
		return fmt.Errorf("serve %s of pod %s: a %s socket: %w", l.Kind, l.Pod.UID, ln.Addr().Network(), os.ErrInvalid)
	}
	if err := e.listen(l, tl); err != nil {
		_ = tl.Close()
		return fmt.Errorf("serve %s of pod %s: %w", l.Kind, l.Pod.UID, err)
	}
	return nil
}

func (e *Engine) listen(l engine.Listener, ln *net.TCPListener) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.draining.Load() {
		return net.ErrClosed
	}
	p := e.pods[l.Pod]
	if p == nil {
		p = newPod(e, l.Pod)
		e.pods[l.Pod] = p
	}
	if !p.addListener(ln) {
		return net.ErrClosed
	}
	go e.accept(p, ln, l.Kind)
	return nil
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
	e.drain(ctx)
	err := e.work.Wait(ctx)
	if err != nil {
		err = fmt.Errorf("drain: cut %d connections: %w", e.live.len(), err)
	}
	e.shutdown()
	return err
}

func (e *Engine) drain(ctx context.Context) {
	e.mu.Lock()
	e.draining.Store(true) // no listener is added from here on
	e.mu.Unlock()
	for _, p := range e.allPods() {
		p.drain(ctx)
	}
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
		return
	}
	if home, err := e.home(); err == nil {
		_ = home.Close()
	}
}

const sweepEvery = time.Second

// sweep looks after what no event announces: certificates that end, tunnels that idle, queues that grow.
func (e *Engine) sweep(ctx context.Context) {
	defer close(e.swept)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, p := range e.allPods() {
				p.sweep(e.opts.Now())
			}
		}
	}
}
