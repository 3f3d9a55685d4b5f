package mux

import (
	"fmt"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// onHeaders sorts header blocks: a new request, a response, or trailers, which end a side and are
// otherwise of no interest.
func (c *Conn) onHeaders(mh *http2.MetaHeadersFrame) error {
	id := mh.StreamID
	if c.server && id%2 == 1 && id > c.lastPeer {
		return c.onOpen(mh)
	}
	if c.idleStream(id) {
		return h2.Protocolf("HEADERS on idle stream %d", id)
	}
	s := c.stream(id)
	switch {
	case s == nil:
		return c.meters.Charge(mh.Type)
	case s.remoteEnd:
		s.breakOff(http2.ErrCodeStreamClosed, h2.Protocolf("HEADERS after END_STREAM"))
	case !c.server && !s.answered:
		return s.onResponse(mh)
	case !mh.StreamEnded():
		s.breakOff(http2.ErrCodeProtocol, h2.Protocolf("second HEADERS without END_STREAM"))
	default:
		s.remoteEnded()
	}
	return nil
}

// onResponse takes the answer to our request; 1xx are passed over.
func (s *Stream) onResponse(mh *http2.MetaHeadersFrame) error {
	status, ok := h2.ParseStatus(mh)
	if !ok || mh.Truncated || status < 200 && mh.StreamEnded() {
		s.breakOff(http2.ErrCodeProtocol, fmt.Errorf("response: %w", hbone.ErrHeaders))
		return nil
	}
	if status < 200 {
		return s.c.meters.Charge(mh.Type)
	}
	s.answered, s.status = true, uint16(status)
	s.c.h.Answered(s, status, mh.RegularFields())
	if mh.StreamEnded() && !s.gone {
		s.remoteEnded()
	}
	return nil
}

// onOpen takes in a request for a tunnel.
func (c *Conn) onOpen(mh *http2.MetaHeadersFrame) error {
	if mh.Truncated {
		return c.onBadRequest(mh.StreamID, 431, mh.StreamEnded(),
			fmt.Errorf("%w: larger than %d bytes", hbone.ErrHeaders, c.cfg.MaxHeaderList))
	}
	req, err := hbone.ParseRequest(mh)
	if err != nil {
		return c.onBadRequest(mh.StreamID, 400, mh.StreamEnded(), err)
	}
	c.lastPeer = mh.StreamID
	if c.final || len(c.streams) >= c.cfg.MaxStreams {
		c.reset(mh.StreamID, http2.ErrCodeRefusedStream)
		return c.meters.ChargeReset()
	}
	s := c.newStream(mh.StreamID, nil)
	c.h.Opened(s, req)
	if mh.StreamEnded() && !s.gone {
		s.remoteEnded()
	}
	return nil
}

// onBadRequest answers a malformed request; it costs its stream, and many of them the connection.
func (c *Conn) onBadRequest(id uint32, status int, ended bool, why error) error {
	c.lastPeer = id
	c.headers(id, true, []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}})
	if !ended {
		c.reset(id, http2.ErrCodeNo)
	}
	c.h.BadRequest(why)
	return c.meters.ChargeReset()
}
