package hbone

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2"
)

// frameBudget bounds the bytes of one frame beside DATA, or of one header block with all its
// CONTINUATION frames, over twice the header list.
const frameBudget = 32 * kib

var errBudget = connError{http2.ErrCodeEnhanceYourCalm, "endless header block"}

// budgetReader ends a header block that never ends, empty CONTINUATION frames included.
type budgetReader struct {
	r    io.Reader
	left int
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left < len(p) {
		return 0, errBudget
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
	var ce connError
	switch {
	case c.err != nil:
	case errors.As(err, &ce):
		c.end(lost(err), &ce)
	default:
		c.end(lost(err), nil)
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
		return protocolError("not an HTTP/2 preface")
	}
	return nil
}

// readFrame reads and acts on one frame.
func (c *conn) readFrame() error {
	c.rd.left = 2*c.cfg.MaxHeaderList + c.cfg.MaxFrame + frameBudget
	fh, err := c.fr.ReadFrameHeader()
	if err != nil {
		return mapReadError(err)
	}
	c.frames.Add(1)
	if !c.peer.known && fh.Type != http2.FrameSettings {
		return protocolError("first frame is %v", fh.Type)
	}
	if fh.Type == http2.FrameData {
		return c.onData(fh)
	}
	f, err := c.fr.ReadFrameForHeader(fh)
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		return c.onStreamError(fh, se)
	}
	if err != nil {
		return mapReadError(err)
	}
	return c.dispatch(f)
}

// mapReadError turns the Framer's errors into ours.
func mapReadError(err error) error {
	var code http2.ConnectionError
	switch {
	case errors.Is(err, http2.ErrFrameTooLarge):
		return connError{http2.ErrCodeFrameSize, "frame too large"}
	case errors.As(err, &code):
		return connError{http2.ErrCode(code), "malformed frame"}
	}
	return err
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
		return protocolError("push promise")
	}
	return c.charge(f.Header().Type) // PRIORITY, and whatever else there may be, means nothing here
}

// onStreamError answers a frame that is malformed in a way that concerns its stream alone.
func (c *conn) onStreamError(fh http2.FrameHeader, se http2.StreamError) error {
	if fh.Type == http2.FrameHeaders && c.server && se.StreamID%2 == 1 && se.StreamID > c.lastOpened() {
		return c.onBadRequest(se.StreamID, 400, fh.Flags.Has(http2.FlagHeadersEndStream), se)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idleStream(se.StreamID) && fh.Type != http2.FramePriority {
		return protocolError("%v on idle stream %d", fh.Type, se.StreamID)
	}
	if s := c.streams[se.StreamID]; s != nil {
		c.breakStream(s, se.Code, se)
	}
	return c.charge(fh.Type)
}

// breakStream resets a stream for what its peer did. mu is held.
func (c *conn) breakStream(s *Stream, code http2.ErrCode, why error) {
	if s.err == nil {
		s.err = fmt.Errorf("tunnel broken by its peer: %w", why)
	}
	s.reset(code)
	s.wakeAll()
}

func (c *conn) onReset(f *http2.RSTStreamFrame) error {
	if c.idleStream(f.StreamID) {
		return protocolError("reset of idle stream %d", f.StreamID)
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return c.charge(f.Type)
	}
	inVain := c.server && !s.answered
	if !s.remoteEnd {
		s.discard()
	}
	s.fail(resetError{f.ErrCode})
	if inVain {
		return c.chargeReset()
	}
	return nil
}

func (c *conn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	by := int64(f.Increment)
	if f.StreamID == 0 {
		if c.sendWin += by; c.sendWin > maxWindow {
			return connError{http2.ErrCodeFlowControl, "connection window overflow"}
		}
		c.wake()
		return c.charge(f.Type)
	}
	if c.idleStream(f.StreamID) {
		return protocolError("window update on idle stream %d", f.StreamID)
	}
	if s := c.streams[f.StreamID]; s != nil {
		c.widen(s, by)
	}
	return c.charge(f.Type)
}

// widen changes what may be sent on s, by a WINDOW_UPDATE or new SETTINGS. mu is held.
func (c *conn) widen(s *Stream, by int64) {
	if s.sendWin += by; s.sendWin > maxWindow {
		c.breakStream(s, http2.ErrCodeFlowControl,
			connError{http2.ErrCodeFlowControl, "stream window overflow"})
		return
	}
	s.enqueue()
}
