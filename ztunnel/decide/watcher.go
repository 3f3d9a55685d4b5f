package decide

import (
	"context"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/internal/mesh"
)

// Watcher has live connections judged again when the mesh changes in a way that may matter to pods of
// this node. Changes that come while it works are taken together.
type Watcher struct {
	decider *Decider
	recheck func()
	stop    func() // the subscription's end
	wake    chan struct{}

	mu   sync.Mutex
	last *mesh.Snapshot // under mu; the one before the change
}

// NewWatcher watches from now on; recheck is engine.Engine's. Run does the work.
func (d *Decider) NewWatcher(recheck func()) *Watcher {
	w := &Watcher{decider: d, recheck: recheck, wake: make(chan struct{}, 1), last: d.opts.Store.Snapshot()}
	w.stop = d.opts.Store.Subscribe(w.changed)
	return w
}

// Run calls recheck after changes until ctx ends. It is to be called once.
func (w *Watcher) Run(ctx context.Context) {
	defer w.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	var due time.Time // of the timer; zero: not set
	for {
		select {
		case <-ctx.Done():
			return
		case after := <-w.decider.later:
			// A connection is held because a policy is not known: it ends then, not at the next change.
			if at := time.Now().Add(after); due.IsZero() || at.Before(due) {
				due = at
				timer.Reset(after)
			}
			continue
		case <-timer.C:
			due = time.Time{}
		case <-w.wake:
		}
		w.recheck()
	}
}

// changed runs on the goroutine that applied the change, so it only looks and wakes.
func (w *Watcher) changed(c mesh.Change) {
	w.mu.Lock()
	before := w.last
	w.last = c.Snapshot
	w.mu.Unlock()
	if !w.matters(before, &c) {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default: // it will see this change too
	}
}

func (w *Watcher) matters(before *mesh.Snapshot, c *mesh.Change) bool {
	if len(c.Policies) > 0 {
		return true
	}
	for _, uid := range c.Workloads {
		if w.ours(before.Workload(uid)) || w.ours(c.Snapshot.Workload(uid)) {
			return true
		}
	}
	return false
}

// ours reports whether a workload is of this node, or claims an address that is.
func (w *Watcher) ours(wl *mesh.Workload) bool {
	if wl == nil {
		return false
	}
	if wl.Node == w.decider.opts.Node {
		return true
	}
	for _, a := range wl.Addrs {
		if w.decider.opts.LocalPods(a) != nil {
			return true
		}
	}
	return false
}
