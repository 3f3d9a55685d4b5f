package hbone

import (
	"fmt"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
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
		return protocolError("HEADERS on idle stream %d", id)
	}
	s := c.streams[id]
	switch {
	case s == nil:
		return c.charge(mh.Type)
	case s.remoteEnd:
		c.breakStream(s, http2.ErrCodeStreamClosed, protocolError("HEADERS after END_STREAM"))
	case !c.server && !s.answered:
		return s.onResponse(mh)
	case !mh.StreamEnded():
		c.breakStream(s, http2.ErrCodeProtocol, protocolError("second HEADERS without END_STREAM"))
	default:
		s.remoteEnded()
	}
	return nil
}

// onResponse takes the answer to our request; 1xx are passed over. mu is held.
func (s *Stream) onResponse(mh *http2.MetaHeadersFrame) error {
	status, ok := parseStatus(mh)
	if !ok || mh.Truncated || status < 200 && mh.StreamEnded() {
		s.c.breakStream(s, http2.ErrCodeProtocol, fmt.Errorf("response: %w", ErrHeaders))
		return nil
	}
	if status < 200 {
		return s.c.charge(mh.Type)
	}
	s.answered, s.status = true, status
	s.header = slices.Clone(mh.RegularFields())
	if mh.StreamEnded() {
		s.remoteEnded()
	}
	s.canRead.Broadcast()
	return nil
}

// parseStatus reads the one pseudo header that a response has.
func parseStatus(mh *http2.MetaHeadersFrame) (int, bool) {
	p := mh.PseudoFields()
	if len(p) != 1 || p[0].Name != ":status" || len(p[0].Value) != 3 {
		return 0, false
	}
	status := 0
	for _, b := range []byte(p[0].Value) {
		if b < '0' || b > '9' {
			return 0, false
		}
		status = 10*status + int(b-'0')
	}
	return status, status >= 100 && status != 101
}

// fits holds a header list against what the peer accepts. mu is held.
func (c *conn) fits(fields []hpack.HeaderField) error {
	size := uint64(0)
	for _, f := range fields {
		size += uint64(f.Size())
	}
	if size > uint64(c.peer.headerList) {
		return fmt.Errorf("%w: %d bytes, the peer accepts %d", ErrHeaders, size, c.peer.headerList)
	}
	return nil
}
