package loop

import (
	"time"
)

const (
	// tickEvery is how often a worker looks after its connections.
	tickEvery = time.Second
	// hotBytes is how much a connection moves between two looks when it is hot: a good part of what one
	// CPU can seal and open.
	hotBytes = 128 << 20
	// quietBytes is less than what a worker's connections move when they are of use: pings alone.
	quietBytes = 16 << 10
)

// carries has the worker look after a connection.
func (w *worker) carries(c *carrier) {
	w.carriers[c] = struct{}{}
	if len(w.carriers) == 1 {
		w.After(&w.tick, tickEvery, w.look)
	}
}

func (w *worker) dropped(c *carrier) {
	delete(w.carriers, c)
	if len(w.carriers) == 0 {
		w.Cancel(&w.tick)
	}
}

// slim gives memory back after a busy time.
func (w *worker) slim() {
	w.records.Trim()
	w.chunks.slim()
}

// look pings peers, finds dead ones, and sees to drains and certificates' ends.
func (w *worker) look() {
	now := w.e.opts.Now()
	var moved int64
	for c := range w.carriers {
		if c.closed {
			continue
		}
		moved += c.moved
		c.hot.Store(c.moved > w.e.hotBytes)
		c.moved = 0
		if c.of != nil && now.After(c.peer.Chain[0].NotAfter) {
			c.mux.GoAway() // the peer has a new certificate by now, or no right to go on
			c.mark()
		}
		if !now.Before(c.mux.Next()) {
			_ = c.mux.Tick(now)
			c.Flush() // at once: all pings go through one buffer
		}
	}
	if moved < quietBytes {
		w.slim()
	}
	if len(w.carriers) > 0 {
		w.After(&w.tick, tickEvery, w.look)
	}
}
