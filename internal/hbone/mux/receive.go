package mux

import (
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// smallBuffer is what a connection may keep of a buffer, in bytes, while it is not used.
const smallBuffer = 4 << 10

// receiver is where in the byte stream the connection is. Only frames other than DATA, split over
// calls of Receive, and header blocks of several frames are gathered.
type receiver struct {
	greeted int                  // bytes of the client's preface
	head    [h2.FrameHeader]byte // of the frame under way
	nhead   int                  // bytes of head
	fh      http2.FrameHeader    // the same, once it is complete
	part    []byte               // frames gathered
	need    int                  // bytes that the last of them lacks
	blockOf uint32               // the stream whose header block goes on in CONTINUATION frames
	data    incoming
}

// Receive takes what the peer sent, in any pieces. Once the connection has ended it returns why, as
// Err does; a GOAWAY that says so is in Out.
func (c *Conn) Receive(p []byte) error {
	for len(p) > 0 && c.err == nil {
		n, err := c.take(p)
		if err != nil {
			c.fatal(err)
		}
		if p = p[n:]; c.nhead == 0 && c.blockOf == 0 && !c.data.on {
			c.settle() // between frames only: how they are split makes no difference
		}
	}
	return c.err
}

// fatal ends the connection for an error of its peer.
func (c *Conn) fatal(err error) {
	if ce, ok := errors.AsType[h2.ConnError](err); ok {
		c.end(h2.Lost(err), &ce)
		return
	}
	c.end(h2.Lost(err), nil)
}

// take acts on the first bytes of p and returns how many, at least one.
func (c *Conn) take(p []byte) (int, error) {
	switch {
	case c.server && c.greeted < len(http2.ClientPreface):
		return c.takePreface(p)
	case c.data.on:
		return c.takeData(p)
	case c.nhead < len(c.head):
		return c.takeHead(p)
	}
	return c.takePart(p)
}

func (c *Conn) takePreface(p []byte) (int, error) {
	want := http2.ClientPreface[c.greeted:]
	n := min(len(p), len(want))
	if string(p[:n]) != want[:n] {
		return n, h2.Protocolf("not an HTTP/2 preface")
	}
	c.greeted += n
	return n, nil
}

// takeHead takes a frame's header, and the whole frame if it is there in one piece.
func (c *Conn) takeHead(p []byte) (int, error) {
	first := c.nhead == 0
	n := copy(c.head[c.nhead:], p)
	if c.nhead += n; c.nhead < len(c.head) {
		return n, nil
	}
	c.parseHead()
	if err := c.checkHead(); err != nil {
		return n, err
	}
	if c.fh.Type == http2.FrameData {
		c.nhead = 0
		return n, c.beginData()
	}
	whole := n + int(c.fh.Length)
	if first && len(p) >= whole && c.blockOf == 0 && !c.unfinished() {
		c.nhead = 0
		return whole, c.onFrame(p[:whole])
	}
	c.part = append(c.part, c.head[:]...)
	if c.need = int(c.fh.Length); c.need == 0 {
		return n, c.gathered()
	}
	return n, nil
}

// takePart gathers a frame.
func (c *Conn) takePart(p []byte) (int, error) {
	n := min(len(p), c.need)
	c.part = append(c.part, p[:n]...)
	if c.need -= n; c.need > 0 {
		return n, nil
	}
	return n, c.gathered()
}

// gathered acts on the frames gathered, unless the header block goes on.
func (c *Conn) gathered() error {
	c.nhead = 0
	if c.unfinished() {
		c.blockOf = c.fh.StreamID
		return nil
	}
	b := c.part
	c.part, c.blockOf = nil, 0
	return c.onFrame(b)
}

// unfinished reports whether the frame is one of a header block and not its last.
func (c *Conn) unfinished() bool {
	return (c.fh.Type == http2.FrameHeaders || c.fh.Type == http2.FrameContinuation) &&
		!c.fh.Flags.Has(http2.FlagHeadersEndHeaders)
}

func (c *Conn) parseHead() {
	h := &c.head
	c.fh = http2.FrameHeader{
		Length:   uint32(h[0])<<16 | uint32(h[1])<<8 | uint32(h[2]),
		Type:     http2.FrameType(h[3]),
		Flags:    http2.Flags(h[4]),
		StreamID: binary.BigEndian.Uint32(h[5:]) & (1<<31 - 1),
	}
}

// checkHead refuses a frame that is too large or out of order, before anything of it is kept.
func (c *Conn) checkHead() error {
	c.frames++
	follows := c.fh.Type == http2.FrameContinuation
	switch {
	case int(c.fh.Length) > c.cfg.MaxFrame:
		return h2.Fatal(http2.ErrCodeFrameSize, "frame too large")
	case follows != (c.blockOf != 0), follows && c.fh.StreamID != c.blockOf,
		c.fh.Type == http2.FrameHeaders && c.fh.StreamID == 0:
		return h2.Protocolf("malformed frame")
	case len(c.part)+h2.FrameHeader+int(c.fh.Length) > c.cfg.Budget():
		return h2.ErrBudget
	case !c.peer.Known && c.fh.Type != http2.FrameSettings:
		return h2.Protocolf("first frame is %v", c.fh.Type)
	}
	return nil
}
