package mux

import (
	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// Sendable returns how many bytes of DATA may be sent now. After 0, Writable says when there may be
// more; but nothing may ever be sent after our end, and not before a server's answer.
func (s *Stream) Sendable() int {
	if !s.open() {
		return 0
	}
	n := min(int64(s.sendWin), s.c.sendWin)
	if n > 0 {
		return int(n)
	}
	if s.blocked = true; s.sendWin > 0 && !s.starved {
		s.starved = true
		s.c.starved = append(s.c.starved, s)
	}
	return 0
}

// open reports whether DATA may be sent at all.
func (s *Stream) open() bool {
	return !s.gone && !s.ended && (s.answered || !s.c.server)
}

// PutHeader writes the header of a DATA frame with n bytes, which are at most Sendable and h2.MaxData,
// into the first h2.FrameHeader bytes of b and takes the credit. end ends our side. The frame lies in
// Out's space, where the owner reads a socket into b[h2.FrameHeader:] before and advances Out after.
func (s *Stream) PutHeader(b []byte, n int, end bool) {
	h2.PutDataHeader(b, s.id, n, end)
	s.sendWin -= int32(n)
	s.c.sendWin -= int64(n)
	s.c.moved += int64(n)
	s.c.meters.SentData()
	if end {
		s.localEnded()
	}
}

func (s *Stream) localEnded() {
	if s.ended = true; s.remoteEnd {
		s.c.drop(s)
	}
}

// Write sends what of p the windows allow, by copying it, and returns how much that was.
func (s *Stream) Write(p []byte) (sent int) {
	for sent < len(p) {
		n := min(len(p)-sent, s.Sendable(), h2.MaxData)
		if n == 0 {
			break
		}
		b := s.c.out.Space(h2.FrameHeader + min(n, writeFloor))
		n = copy(b[h2.FrameHeader:min(len(b), h2.FrameHeader+n)], p[sent:])
		s.PutHeader(b, n, false)
		s.c.out.Advance(h2.FrameHeader + n)
		sent += n
	}
	return sent
}

// writeFloor is the least that Write splits off to fill a record, in bytes.
const writeFloor = 1 << 10

// End ends our side: the peer reads EOF. Before a server's answer it does nothing.
func (s *Stream) End() {
	if s.c.err != nil || !s.open() {
		return
	}
	s.PutHeader(s.c.out.Space(h2.FrameHeader), 0, true)
	s.c.out.Advance(h2.FrameHeader)
}

// Close ends both sides, as far as they have not ended. What the peer still sends is thrown away and
// answered by a reset. No handler is called for the stream any more.
func (s *Stream) Close() {
	if !s.answered {
		s.Reset(http2.ErrCodeCancel)
		return
	}
	s.End()
	s.Reset(s.cutCode())
}

// cutCode is CANCEL, or NO_ERROR where our answer was complete (RFC 9113 8.1).
func (s *Stream) cutCode() http2.ErrCode {
	if s.c.server && s.status >= 300 {
		return http2.ErrCodeNo
	}
	return http2.ErrCodeCancel
}

// Reset breaks the tunnel off: the peer sees a reset, not an end. No handler is called for the stream
// any more.
func (s *Stream) Reset(code http2.ErrCode) {
	if !s.gone && s.c.err == nil {
		s.c.reset(s.id, code)
		s.c.drop(s)
	}
	s.c.inflow.Discard(&s.flow)
	s.c.creditConn()
}
