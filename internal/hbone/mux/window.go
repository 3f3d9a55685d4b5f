package mux

import (
	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// creditConn gives the peer credit on the connection when enough of it is used up.
func (c *Conn) creditConn() {
	if c.err != nil {
		return
	}
	if grant := c.inflow.Grant(); grant > 0 {
		_ = c.fr.WriteWindowUpdate(0, uint32(grant))
	}
}

// credit gives the peer credit on the stream once half its window is used up and read.
func (s *Stream) credit() {
	c := s.c
	if s.remoteEnd || s.gone || c.err != nil {
		return
	}
	grant, grew := c.inflow.Refill(&s.flow)
	if grew {
		c.probe()
		c.creditConn()
	}
	if grant > 0 {
		_ = c.fr.WriteWindowUpdate(s.id, uint32(grant))
	}
}

// Consumed gives credit for n bytes given to Data that the owner has passed on, or thrown away.
func (s *Stream) Consumed(n int) {
	s.c.inflow.Read(&s.flow, max(min(n, int(s.flow.Unread)), 0))
	s.credit()
	s.c.creditConn()
}

func (c *Conn) onWindowUpdate(id uint32, by int64) error {
	if id == 0 {
		if c.sendWin += by; c.sendWin > h2.MaxWindow {
			return h2.Fatal(http2.ErrCodeFlowControl, "connection window overflow")
		}
		c.feed()
		return c.meters.Charge(http2.FrameWindowUpdate)
	}
	if c.idleStream(id) {
		return h2.Protocolf("window update on idle stream %d", id)
	}
	if s := c.stream(id); s != nil {
		s.widen(by)
	}
	return c.meters.Charge(http2.FrameWindowUpdate)
}

// widen changes what may be sent on s, by a WINDOW_UPDATE or new SETTINGS.
func (s *Stream) widen(by int64) {
	win := int64(s.sendWin) + by
	if win > h2.MaxWindow {
		s.breakOff(http2.ErrCodeFlowControl, h2.Fatal(http2.ErrCodeFlowControl, "stream window overflow"))
		return
	}
	s.sendWin = int32(win)
	if s.blocked && s.Sendable() > 0 {
		s.blocked = false
		s.c.h.Writable(s)
	}
}

// feed tells the streams that waited for credit on the connection.
func (c *Conn) feed() {
	if c.sendWin <= 0 {
		return
	}
	hungry := c.starved
	c.starved = nil
	for _, s := range hungry {
		s.starved = false
		if s.blocked && s.Sendable() > 0 {
			s.blocked = false
			c.h.Writable(s)
		}
	}
}
