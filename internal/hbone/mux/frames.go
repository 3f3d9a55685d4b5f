package mux

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// onFrame acts on a whole frame that is not DATA, or on a whole header block.
func (c *Conn) onFrame(b []byte) error {
	if c.fh.Type == http2.FrameWindowUpdate && len(b) == h2.FrameHeader+4 {
		if by := binary.BigEndian.Uint32(b[h2.FrameHeader:]) & (1<<31 - 1); by > 0 {
			return c.onWindowUpdate(c.fh.StreamID, int64(by)) // the one that bulk depends on
		}
	}
	c.whole.Reset(b)
	defer c.whole.Reset(nil)
	fh, err := c.fr.ReadFrameHeader()
	if err != nil {
		return h2.MapReadError(err)
	}
	f, err := c.fr.ReadFrameForHeader(fh)
	if fh.Length > smallBuffer || len(b) > 2*smallBuffer {
		defer c.newFramer()
	}
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		return c.onStreamError(fh, se)
	}
	if err != nil {
		return h2.MapReadError(err)
	}
	return c.dispatch(f)
}

func (c *Conn) dispatch(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.onHeaders(f)
	case *http2.SettingsFrame:
		return c.onSettings(f)
	case *http2.PingFrame:
		return c.onPing(f)
	case *http2.RSTStreamFrame:
		return c.onReset(f)
	case *http2.WindowUpdateFrame:
		return c.onWindowUpdate(f.StreamID, int64(f.Increment))
	case *http2.GoAwayFrame:
		return c.onGoAway(f)
	case *http2.PushPromiseFrame:
		return h2.Protocolf("push promise")
	}
	return c.meters.Charge(f.Header().Type) // PRIORITY, and whatever else there may be, means nothing here
}

// onStreamError answers a frame that is malformed in a way that concerns its stream alone.
func (c *Conn) onStreamError(fh http2.FrameHeader, se http2.StreamError) error {
	if fh.Type == http2.FrameHeaders && c.server && se.StreamID%2 == 1 && se.StreamID > c.lastPeer {
		return c.onBadRequest(se.StreamID, 400, fh.Flags.Has(http2.FlagHeadersEndStream), se)
	}
	if c.idleStream(se.StreamID) && fh.Type != http2.FramePriority {
		return h2.Protocolf("%v on idle stream %d", fh.Type, se.StreamID)
	}
	if s := c.stream(se.StreamID); s != nil {
		s.breakOff(se.Code, se)
	}
	return c.meters.Charge(fh.Type)
}

func (c *Conn) onReset(f *http2.RSTStreamFrame) error {
	if c.idleStream(f.StreamID) {
		return h2.Protocolf("reset of idle stream %d", f.StreamID)
	}
	s := c.stream(f.StreamID)
	if s == nil {
		return c.meters.Charge(f.Type)
	}
	inVain := c.server && !s.answered
	s.fail(h2.ResetError{Code: f.ErrCode})
	c.creditConn()
	if inVain {
		return c.meters.ChargeReset()
	}
	return nil
}

// onGoAway takes leave of the peer: streams that it says it will not serve are refused.
func (c *Conn) onGoAway(f *http2.GoAwayFrame) error {
	c.left = true
	if f.ErrCode != http2.ErrCodeNo {
		return fmt.Errorf("peer ended the connection: %v %q", f.ErrCode, f.DebugData())
	}
	if !c.server {
		c.refuseAfter(f.LastStreamID)
	}
	return c.meters.Charge(f.Type)
}
