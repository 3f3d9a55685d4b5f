package loop

import "time"

// tickEvery is how often a worker looks after its connections.
const tickEvery = time.Second

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

// look pings peers, finds dead ones, and sees to drains and certificates' ends.
func (w *worker) look() {
	now := w.e.opts.Now()
	for c := range w.carriers {
		if c.closed {
			continue
		}
		if c.of != nil && now.After(c.peer.Chain[0].NotAfter) {
			c.mux.GoAway() // the peer has a new certificate by now, or no right to go on
			c.mark()
		}
		if !now.Before(c.mux.Next()) {
			_ = c.mux.Tick(now)
			c.mark()
		}
	}
	if len(w.carriers) > 0 {
		w.After(&w.tick, tickEvery, w.look)
	}
}
