package mux

import (
	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// incoming is the DATA frame under way. Its payload is passed on as it comes.
type incoming struct {
	on        bool
	padded    bool    // its pad length is still to come
	end       bool    // it ends the peer's side
	s         *Stream // nil: thrown away
	left, pad int     // bytes of data and padding to come
}

func (c *Conn) beginData() error {
	size := int(c.fh.Length)
	if c.fh.StreamID == 0 {
		return h2.Protocolf("DATA on stream 0")
	}
	c.data = incoming{on: true, left: size, end: c.fh.Flags.Has(http2.FlagDataEndStream)}
	if c.fh.Flags.Has(http2.FlagDataPadded) {
		if c.data.padded = true; size == 0 {
			return h2.Fatal(http2.ErrCodeFrameSize, "padded DATA without a pad length")
		}
		return nil
	}
	return c.admitData()
}

func (c *Conn) takeData(p []byte) (n int, err error) {
	d := &c.data
	switch {
	case d.padded:
		d.padded, d.pad = false, int(p[0])
		if d.left -= 1 + d.pad; d.left < 0 {
			return 1, h2.Protocolf("more padding than frame")
		}
		return 1, c.admitData()
	case d.left > 0:
		n = min(len(p), d.left)
		d.left -= n
		c.deliver(p[:n])
	default:
		n = min(len(p), d.pad)
		d.pad -= n
	}
	c.endData()
	return n, nil
}

// admitData holds a DATA frame against the windows. The data is thrown away if its stream has ended or
// is broken by this frame.
func (c *Conn) admitData() error {
	size := int64(c.fh.Length)
	if c.idleStream(c.fh.StreamID) {
		return h2.Protocolf("DATA on idle stream %d", c.fh.StreamID)
	}
	if size > c.inflow.RecvWin {
		return h2.Fatal(http2.ErrCodeFlowControl, "connection window exceeded")
	}
	c.inflow.RecvWin -= size
	err := c.admitTo(c.stream(c.fh.StreamID), size)
	if err == nil {
		c.endData()
	}
	return err
}

func (c *Conn) admitTo(s *Stream, size int64) error {
	if s == nil {
		return c.meters.Charge(http2.FrameData)
	}
	if code, why := s.refuseData(size); why != "" {
		s.breakOff(code, h2.Fatal(code, why))
		return nil
	}
	c.data.s = s
	s.flow.RecvWin -= int32(size)
	if c.data.left == 0 && !c.data.end {
		s.credit()
		return c.meters.Charge(http2.FrameData)
	}
	return nil
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

func (c *Conn) deliver(p []byte) {
	if s := c.data.s; s != nil && !s.gone {
		c.inflow.Received(&s.flow, len(p))
		c.h.Data(s, p)
	}
}

// endData ends the frame once all of it has come.
func (c *Conn) endData() {
	d := &c.data
	if d.left > 0 || d.pad > 0 || !d.on {
		return
	}
	s, end := d.s, d.end
	c.data = incoming{}
	if s != nil && !s.gone && end {
		s.remoteEnded()
	}
	c.creditConn()
}
