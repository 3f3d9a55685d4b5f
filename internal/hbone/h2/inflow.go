package h2

import "time"

// Inflow is the receiving side of flow control for a connection, in bytes.
//
// Credit on the connection is given back as data arrives, not as it is read, so that a stream which is
// not read holds up no other; a stream is held up by its own window, and all of them by MaxBuffered.
type Inflow struct {
	RecvWin int64         // what the peer may still send
	Unread  int64         // received, not yet read, all streams
	RTT     time.Duration // the shortest round trip seen; 0 before the first

	window int64 // what RecvWin is filled up to
	grown  int64 // what the streams' windows have grown by, together
	cfg    *Config
	began  time.Time // of Flow.since; zero before the first
}

// Flow is the receiving side of one stream. No window is larger than MaxWindow.
type Flow struct {
	RecvWin int32 // what the peer may still send
	Unread  int32 // received, not yet read
	window  int32 // what RecvWin is filled up to

	used  int32         // bytes read since the stream's rate was last judged
	since time.Duration // when that was; 0: never
}

// NewInflow returns the windows of a connection with the settings, defaults filled in.
func NewInflow(cfg *Config) Inflow {
	return Inflow{RecvWin: RFCWindow, window: int64(cfg.ConnWindow), cfg: cfg}
}

// Stream returns the windows of a new stream.
func (c *Inflow) Stream() Flow {
	return Flow{RecvWin: int32(c.cfg.StreamWindow), window: int32(c.cfg.StreamWindow)}
}

// Grant takes the credit that the peer is to be given on the connection; 0 while it has enough.
func (c *Inflow) Grant() int64 {
	grant := min(c.window, int64(c.cfg.MaxBuffered)-c.Unread) - c.RecvWin
	low := c.RecvWin < int64(c.cfg.MaxFrame) && grant >= kib
	if grant < c.window/4 && !low {
		return 0
	}
	c.RecvWin += grant
	return grant
}

// Refill takes the credit that the peer is to be given on a stream: what is missing of its window once
// half of it is used up and read. grew says that the windows became wider: then the connection is due a
// Grant, and the round trip a sample.
func (c *Inflow) Refill(f *Flow) (granted int64, grew bool) {
	if f.window-f.Unread-f.RecvWin < f.window/2 {
		return 0, false
	}
	grew = c.adapt(f, f.window-f.Unread-f.RecvWin)
	grant := max(f.window-f.Unread-f.RecvWin, 0)
	f.RecvWin += grant
	return int64(grant), grew
}

// adapt doubles the window of a stream that is less than four times its rate times the round trip,
// because then the window and not the path may be its limit; and halves it again when its reader has
// become slow. The rate is that of at least a round trip, so that bursts do not count as speed.
func (c *Inflow) adapt(f *Flow, read int32) (grew bool) {
	now := c.now()
	f.used = int32(min(int64(f.used)+int64(read), MaxWindow))
	took, used := now-f.since, f.used
	first := f.since == 0
	if took < c.RTT && !first {
		return false
	}
	f.since, f.used = now, 0
	if first || c.RTT == 0 {
		return false
	}
	perTrip := float64(used) * float64(c.RTT) / float64(took)
	switch {
	case 4*perTrip > float64(f.window) && f.window < int32(c.cfg.MaxStreamWindow):
		return c.grow(f)
	case 128*perTrip < float64(f.window) && f.Unread > f.window/4 && f.window > int32(c.cfg.StreamWindow):
		c.grown -= int64(f.window - f.window/2)
		f.window /= 2
	}
	return false
}

// now is the time as Flow keeps it.
func (c *Inflow) now() time.Duration {
	now := c.cfg.Now()
	if c.began.IsZero() {
		c.began = now.Add(-1)
	}
	return now.Sub(c.began)
}

// grow doubles the stream's window if half of MaxBuffered is not yet lent out this way.
func (c *Inflow) grow(f *Flow) bool {
	by := min(f.window, int32(c.cfg.MaxStreamWindow)-f.window)
	if c.grown+int64(by) > int64(c.cfg.MaxBuffered)/2 {
		return false
	}
	f.window += by
	c.grown += int64(by)
	c.window = max(c.window, min(connPerChild*int64(f.window), int64(c.cfg.MaxBuffered)))
	return true
}

// Ungrow takes back what a stream's window had grown by, at its end.
func (c *Inflow) Ungrow(f *Flow) {
	c.grown -= int64(f.window) - int64(c.cfg.StreamWindow)
	f.window = int32(c.cfg.StreamWindow)
}

// Received notes n bytes that wait to be read.
func (c *Inflow) Received(f *Flow, n int) {
	f.Unread += int32(n)
	c.Unread += int64(n)
}

// Read notes n bytes that were read.
func (c *Inflow) Read(f *Flow, n int) { c.Received(f, -n) }

// Discard notes that what waits will not be read.
func (c *Inflow) Discard(f *Flow) {
	c.Unread -= int64(f.Unread)
	f.Unread = 0
}

// Sample takes a round trip into account.
func (c *Inflow) Sample(d time.Duration) {
	if d > 0 && (c.RTT == 0 || d < c.RTT) {
		c.RTT = d
	}
}
