package hbone

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// budgetReader ends a header block that never ends, empty CONTINUATION frames included.
type budgetReader struct {
	r    io.Reader
	left int
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left < len(p) {
		return 0, h2.ErrBudget
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}

// readLoop reads frames until the connection ends.
func (c *conn) readLoop() {
	err := c.readPreface()
	for err == nil {
		err = c.readFrame()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var ce h2.ConnError
	switch {
	case c.err != nil:
	case errors.As(err, &ce):
		c.end(h2.Lost(err), &ce)
	default:
		c.end(h2.Lost(err), nil)
	}
}

func (c *conn) readPreface() error {
	if !c.server {
		return nil
	}
	var got [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.nc, got[:]); err != nil {
		return fmt.Errorf("read preface: %w", err)
	}
	if string(got[:]) != http2.ClientPreface {
		return h2.Protocolf("not an HTTP/2 preface")
	}
	return nil
}

// readFrame reads and acts on one frame.
func (c *conn) readFrame() error {
	c.rd.left = c.cfg.Budget()
	fh, err := c.fr.ReadFrameHeader()
	if err != nil {
		return h2.MapReadError(err)
	}
	c.frames.Add(1)
	if !c.peer.Known && fh.Type != http2.FrameSettings {
		return h2.Protocolf("first frame is %v", fh.Type)
	}
	if fh.Type == http2.FrameData {
		return c.onData(fh)
	}
	f, err := c.fr.ReadFrameForHeader(fh)
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		return c.onStreamError(fh, se)
	}
	if err != nil {
		return h2.MapReadError(err)
	}
	return c.dispatch(f)
}

// dispatch acts on a frame that is not DATA.
func (c *conn) dispatch(f http2.Frame) error {
	if mh, ok := f.(*http2.MetaHeadersFrame); ok {
		return c.onHeaders(mh)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.onSettings(f)
	case *http2.PingFrame:
		return c.onPing(f)
	case *http2.RSTStreamFrame:
		return c.onReset(f)
	case *http2.WindowUpdateFrame:
		return c.onWindowUpdate(f)
	case *http2.GoAwayFrame:
		return c.onGoAway(f)
	case *http2.PushPromiseFrame:
		return h2.Protocolf("push promise")
	}
	return c.meters.Charge(f.Header().Type) // PRIORITY, and whatever else there may be, means nothing here
}

// onStreamError answers a frame that is malformed in a way that concerns its stream alone.
func (c *conn) onStreamError(fh http2.FrameHeader, se http2.StreamError) error {
	if fh.Type == http2.FrameHeaders && c.server && se.StreamID%2 == 1 && se.StreamID > c.lastOpened() {
		return c.onBadRequest(se.StreamID, 400, fh.Flags.Has(http2.FlagHeadersEndStream), se)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idleStream(se.StreamID) && fh.Type != http2.FramePriority {
		return h2.Protocolf("%v on idle stream %d", fh.Type, se.StreamID)
	}
	if s := c.streams[se.StreamID]; s != nil {
		c.breakStream(s, se.Code, se)
	}
	return c.meters.Charge(fh.Type)
}

// breakStream resets a stream for what its peer did. mu is held.
func (c *conn) breakStream(s *Stream, code http2.ErrCode, why error) {
	if s.err == nil {
		s.err = h2.Broken(why)
	}
	s.reset(code)
	s.wakeAll()
}

func (c *conn) onReset(f *http2.RSTStreamFrame) error {
	if c.idleStream(f.StreamID) {
		return h2.Protocolf("reset of idle stream %d", f.StreamID)
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return c.meters.Charge(f.Type)
	}
	inVain := c.server && !s.answered
	if !s.remoteEnd {
		s.discard()
	}
	s.fail(h2.ResetError{Code: f.ErrCode})
	if inVain {
		return c.meters.ChargeReset()
	}
	return nil
}

func (c *conn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	by := int64(f.Increment)
	if f.StreamID == 0 {
		if c.sendWin += by; c.sendWin > h2.MaxWindow {
			return h2.Fatal(http2.ErrCodeFlowControl, "connection window overflow")
		}
		c.wake()
		return c.meters.Charge(f.Type)
	}
	if c.idleStream(f.StreamID) {
		return h2.Protocolf("window update on idle stream %d", f.StreamID)
	}
	if s := c.streams[f.StreamID]; s != nil {
		c.widen(s, by)
	}
	return c.meters.Charge(f.Type)
}

// widen changes what may be sent on s, by a WINDOW_UPDATE or new SETTINGS. mu is held.
func (c *conn) widen(s *Stream, by int64) {
	if s.sendWin += by; s.sendWin > h2.MaxWindow {
		c.breakStream(s, http2.ErrCodeFlowControl,
			h2.Fatal(http2.ErrCodeFlowControl, "stream window overflow"))
		return
	}
	s.enqueue()
}
