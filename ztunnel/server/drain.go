package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// drain is the end of accepting. It has no limit of its own: a proxy that a newer one has replaced lives
// until it is told to go, and only then does its time run.
type drain struct {
	engine engine.Engine
	last   func()
	log    *slog.Logger

	once     sync.Once
	started  chan struct{}
	gone     sync.Once
	replaced chan struct{} // closed when a newer proxy has taken over
	done     chan struct{} // closed when the last connection has ended
	ctx      context.Context
	cut      context.CancelFunc
}

// newDrain calls last when the drain begins.
func newDrain(e engine.Engine, last func(), log *slog.Logger) *drain {
	d := &drain{engine: e, last: last, log: log, started: make(chan struct{}), replaced: make(chan struct{}), done: make(chan struct{})}
	d.ctx, d.cut = context.WithCancel(context.Background())
	return d
}

func (d *drain) begun() bool {
	select {
	case <-d.started:
		return true
	default:
		return false
	}
}

// begin stops accepting, once.
func (d *drain) begin() {
	d.once.Do(func() {
		close(d.started)
		d.last()
		go func() {
			defer close(d.done)
			if err := d.engine.Drain(d.ctx); err != nil {
				d.log.Warn("drain", "error", err)
			}
		}()
	})
}

// replace notes that a newer proxy is there.
func (d *drain) replace() { d.gone.Do(func() { close(d.replaced) }) }

// finish waits for the last connection, at most limit or until ctx ends; then it cuts what is left.
func (d *drain) finish(ctx context.Context, limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-d.done:
	case <-t.C:
	case <-ctx.Done():
	}
	d.cut()
	<-d.done
}
