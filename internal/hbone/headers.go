package hbone

import (
	"fmt"
	"slices"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// onHeaders sorts header blocks: a new request, a response, or trailers, which end a side and are
// otherwise of no interest.
func (c *conn) onHeaders(mh *http2.MetaHeadersFrame) error {
	id := mh.StreamID
	if c.server && id%2 == 1 && id > c.lastOpened() {
		return c.onOpen(mh)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idleStream(id) {
		return h2.Protocolf("HEADERS on idle stream %d", id)
	}
	s := c.streams[id]
	switch {
	case s == nil:
		return c.meters.Charge(mh.Type)
	case s.remoteEnd:
		c.breakStream(s, http2.ErrCodeStreamClosed, h2.Protocolf("HEADERS after END_STREAM"))
	case !c.server && !s.answered:
		return s.onResponse(mh)
	case !mh.StreamEnded():
		c.breakStream(s, http2.ErrCodeProtocol, h2.Protocolf("second HEADERS without END_STREAM"))
	default:
		s.remoteEnded()
	}
	return nil
}

// onResponse takes the answer to our request; 1xx are passed over. mu is held.
func (s *Stream) onResponse(mh *http2.MetaHeadersFrame) error {
	status, ok := h2.ParseStatus(mh)
	if !ok || mh.Truncated || status < 200 && mh.StreamEnded() {
		s.c.breakStream(s, http2.ErrCodeProtocol, fmt.Errorf("response: %w", ErrHeaders))
		return nil
	}
	if status < 200 {
		return s.c.meters.Charge(mh.Type)
	}
	s.answered, s.status = true, status
	s.header = slices.Clone(mh.RegularFields())
	if mh.StreamEnded() {
		s.remoteEnded()
	}
	s.canRead.Broadcast()
	return nil
}
