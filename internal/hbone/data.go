package hbone

import (
	"fmt"
	"io"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// onData receives a DATA frame, its payload straight into the stream's buffers.
func (c *conn) onData(fh http2.FrameHeader) error {
	n, pad, err := c.readPadding(fh)
	if err != nil {
		return err
	}
	s, err := c.admitData(fh, n)
	if err != nil {
		return err
	}
	if err := c.readPayload(s, n); err != nil {
		return err
	}
	if err := c.readPayload(nil, pad); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != nil && !s.gone && fh.Flags.Has(http2.FlagDataEndStream) {
		s.remoteEnded()
	}
	c.creditConn()
	return nil
}

// readPadding returns the lengths of data and padding of a DATA frame.
func (c *conn) readPadding(fh http2.FrameHeader) (n, pad int, err error) {
	if fh.StreamID == 0 {
		return 0, 0, h2.Protocolf("DATA on stream 0")
	}
	n = int(fh.Length)
	if !fh.Flags.Has(http2.FlagDataPadded) {
		return n, 0, nil
	}
	var b [1]byte
	if n == 0 {
		return 0, 0, h2.Fatal(http2.ErrCodeFrameSize, "padded DATA without a pad length")
	}
	if _, err := io.ReadFull(c.nc, b[:]); err != nil {
		return 0, 0, fmt.Errorf("read pad length: %w", err)
	}
	if pad = int(b[0]); pad > n-1 {
		return 0, 0, h2.Protocolf("more padding than frame")
	}
	return n - 1 - pad, pad, nil
}

// admitData holds a DATA frame against the windows. It returns nil for a stream whose data is to be
// thrown away: one that has ended, or that this frame breaks.
func (c *conn) admitData(fh http2.FrameHeader, n int) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := int64(fh.Length)
	if c.idleStream(fh.StreamID) {
		return nil, h2.Protocolf("DATA on idle stream %d", fh.StreamID)
	}
	if size > c.inflow.RecvWin {
		return nil, h2.Fatal(http2.ErrCodeFlowControl, "connection window exceeded")
	}
	c.inflow.RecvWin -= size
	s := c.streams[fh.StreamID]
	if s == nil {
		return nil, c.meters.Charge(fh.Type)
	}
	if code, why := s.refuseData(size); why != "" {
		c.breakStream(s, code, h2.Fatal(code, why))
		return nil, nil
	}
	s.flow.RecvWin -= int32(size)
	if n == 0 && !fh.Flags.Has(http2.FlagDataEndStream) {
		s.credit()
		return s, c.meters.Charge(fh.Type)
	}
	return s, nil
}

// refuseData says why the stream may not receive size bytes.
func (s *Stream) refuseData(size int64) (http2.ErrCode, string) {
	switch {
	case s.remoteEnd:
		return http2.ErrCodeStreamClosed, "DATA after END_STREAM"
	case !s.c.server && !s.answered:
		return http2.ErrCodeProtocol, "DATA before the response"
	case size > int64(s.flow.RecvWin):
		return http2.ErrCodeFlowControl, "stream window exceeded"
	}
	return 0, ""
}

// readPayload reads n bytes into the stream's queue, or nowhere if s is nil.
func (c *conn) readPayload(s *Stream, n int) error {
	for n > 0 {
		ch := c.space(s, n)
		m, err := c.nc.Read(ch.b[ch.w:min(len(ch.b), ch.w+n)])
		c.filled(s, ch, m)
		if n -= m; err != nil && n > 0 {
			return fmt.Errorf("read DATA: %w", err)
		}
	}
	return nil
}

// space returns a busy chunk to read into.
func (c *conn) space(s *Stream, n int) *chunk {
	if s != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !s.gone && !s.closed {
			return s.in.space(n)
		}
	}
	ch := getChunk(n)
	ch.busy = true
	return ch
}

// filled takes m bytes of a busy chunk into account, or throws them away if nobody will read them.
func (c *conn) filled(s *Stream, ch *chunk, m int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch.busy = false
	if s == nil || s.in.tail != ch {
		ch.put()
		return
	}
	ch.w += m
	c.inflow.Received(&s.flow, m)
	s.canRead.Broadcast()
}
