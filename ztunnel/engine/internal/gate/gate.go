// Package gate counts who works with what is to be taken away, and bounds how many may.
package gate

import (
	"context"
	"sync"
)

// Gate counts who is inside. Once shut it lets nobody in.
type Gate struct {
	mu    sync.Mutex
	shut  bool
	n     int
	empty chan struct{} // closed when the last one leaves; nil while nobody waits for it
}

// Enter reports whether the caller is let in; if so it must leave.
func (g *Gate) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.n++
	return true
}

// Leave lets one go.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// Close lets nobody in any more.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
}

// Wait returns when nobody is inside, or with ctx's cause.
func (g *Gate) Wait(ctx context.Context) error {
	g.mu.Lock()
	if g.n == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
