package mux

import (
	"fmt"
	"strconv"

	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// Open opens a tunnel for a client: it sends the request, and data may follow at once. It fails with
// hbone.ErrNoRoom when Room is 0. req is not kept.
func (c *Conn) Open(req *hbone.Request, user any) (*Stream, error) {
	fields, err := req.Fields()
	if err == nil {
		err = c.err
	}
	if err == nil && c.Room() == 0 {
		err = hbone.ErrNoRoom
	}
	if err == nil {
		err = c.peer.Fits(fields)
	}
	if err != nil {
		return nil, fmt.Errorf("open tunnel: %w", err)
	}
	s := c.newStream(c.nextID, user)
	c.nextID += 2
	c.headers(s.id, false, fields)
	return s, nil
}

// Room returns how many streams a client may open now; 0 after GOAWAY from either side. After 0,
// Handler.Room says when there is some.
func (c *Conn) Room() int {
	n := c.room()
	c.noRoom = c.noRoom || n == 0
	return n
}

func (c *Conn) room() int {
	if c.server || c.err != nil || c.leaving || c.left || c.nextID > h2.MaxWindow {
		return 0
	}
	most := int(min(uint32(c.cfg.MaxStreams), c.peer.MaxStreams))
	return max(0, most-len(c.streams))
}

// Respond answers the tunnel's request. A status of 300 or more ends our side: only Close is left.
func (s *Stream) Respond(status int, fields ...hpack.HeaderField) error {
	c := s.c
	switch {
	case !c.server || s.answered || status < 200 || status > 599:
		return fmt.Errorf("answer tunnel with status %d: %w", status, hbone.ErrHeaders)
	case c.err != nil:
		return c.err
	case s.gone:
		return fmt.Errorf("answer tunnel: %w", hbone.ErrReset)
	}
	all := append([]hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}}, fields...)
	if err := c.peer.Fits(all); err != nil {
		return err
	}
	s.answered, s.status = true, uint16(status)
	refused := status >= 300
	c.headers(s.id, refused, all)
	if refused {
		s.localEnded()
	}
	return nil
}
