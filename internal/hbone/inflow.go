package hbone

import (
	"time"
)

// inflow is the receiving side of flow control for the whole connection.
//
// Credit on the connection is given back as data arrives, not as it is read, so that a stream which is
// not read holds up no other; a stream is held up by its own window, and all of them by MaxBuffered.
type inflow struct {
	recvWin int64 // what the peer may still send
	window  int64 // what recvWin is filled up to
	unread  int64 // received, not yet read, all streams
	grown   int64 // what the streams' windows have grown by, together
	rtt     time.Duration
}

// creditConn gives the peer credit on the connection when enough of it is used up. mu is held.
func (c *conn) creditConn() {
	grant := min(c.window, int64(c.cfg.MaxBuffered)-c.unread) - c.recvWin
	low := c.recvWin < int64(c.cfg.MaxFrame) && grant >= kib
	if c.err != nil || grant < c.window/4 && !low {
		return
	}
	c.recvWin += grant
	_ = c.fr.WriteWindowUpdate(0, uint32(grant))
	c.wake()
}

// credit gives the peer credit on the stream once half its window is used up and read. mu is held.
func (s *Stream) credit() {
	c := s.c
	if s.remoteEnd || s.gone || s.closed {
		return
	}
	if s.window-s.unread-s.recvWin < s.window/2 {
		return
	}
	s.adapt()
	grant := s.window - s.unread - s.recvWin
	if grant <= 0 {
		return
	}
	s.recvWin += grant
	_ = c.fr.WriteWindowUpdate(s.id, uint32(grant))
	c.wake()
}

// adapt doubles the window of a stream that uses up half of it within two round trips, because then the
// window and not the path is its limit; and halves it again when its reader has become slow.
func (s *Stream) adapt() {
	c, now := s.c, s.c.cfg.Now()
	took := now.Sub(s.credited)
	first := s.credited.IsZero()
	s.credited = now
	if first || c.rtt == 0 {
		return
	}
	switch {
	case took < 2*c.rtt && s.window < int64(c.cfg.MaxStreamWindow):
		s.grow()
	case took > 64*c.rtt && s.unread > s.window/4 && s.window > int64(c.cfg.StreamWindow):
		c.grown -= s.window / 2
		s.window /= 2
	}
}

// grow doubles the stream's window if half of MaxBuffered is not yet lent out this way.
func (s *Stream) grow() {
	c := s.c
	by := min(s.window, int64(c.cfg.MaxStreamWindow)-s.window)
	if c.grown+by > int64(c.cfg.MaxBuffered)/2 {
		return
	}
	s.window += by
	c.grown += by
	c.window = max(c.window, min(connPerChild*s.window, int64(c.cfg.MaxBuffered)))
	c.probe()
	c.creditConn()
}

// ungrow takes back what a stream's window had grown by. mu is held.
func (c *conn) ungrow(s *Stream) {
	c.grown -= s.window - int64(c.cfg.StreamWindow)
	s.window = int64(c.cfg.StreamWindow)
}

// sampleRTT keeps the shortest round trip seen. mu is held.
func (c *conn) sampleRTT(d time.Duration) {
	if d > 0 && (c.rtt == 0 || d < c.rtt) {
		c.rtt = d
	}
}
