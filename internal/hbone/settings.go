package hbone

import (
	"math"
	"time"

	"golang.org/x/net/http2"
)

const hpackTable = 4 * kib // of either direction (RFC 9113 6.5.2's default)

// peerSettings is what the peer announced.
type peerSettings struct {
	known      bool
	maxStreams uint32
	window     int64 // initial window of streams that we send on
	maxFrame   int
	headerList uint32
}

func initialPeer() peerSettings {
	return peerSettings{maxStreams: defaultClientStreams, window: rfcWindow, maxFrame: rfcMaxFrame,
		headerList: math.MaxUint32}
}

// hello queues the preface and our SETTINGS. mu is held.
func (c *conn) hello() {
	set := []http2.Setting{
		{ID: http2.SettingMaxFrameSize, Val: uint32(c.cfg.MaxFrame)},
		{ID: http2.SettingInitialWindowSize, Val: uint32(c.cfg.StreamWindow)},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.cfg.MaxHeaderList)},
	}
	if c.server {
		set = append(set, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.cfg.MaxStreams)})
	} else {
		c.ctrl = append(c.ctrl, http2.ClientPreface...)
		set = append(set, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	}
	_ = c.fr.WriteSettings(set...)
	c.helloAt = c.cfg.Now()
}

func (c *conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		if !c.helloAt.IsZero() {
			c.sampleRTT(c.cfg.Now().Sub(c.helloAt))
			c.helloAt = time.Time{}
		}
		return c.charge(f.Type)
	}
	if err := c.chargeReply(f.Type); err != nil {
		return err
	}
	if !c.peer.known {
		c.peer.known = true
		c.peer.maxStreams = math.MaxUint32 // none said means no limit
	}
	if err := f.ForeachSetting(c.applySetting); err != nil {
		return mapReadError(err)
	}
	_ = c.fr.WriteSettingsAck()
	c.wake()
	return nil
}

func (c *conn) applySetting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.enc.SetMaxDynamicTableSizeLimit(min(s.Val, hpackTable))
		c.enc.SetMaxDynamicTableSize(min(s.Val, hpackTable))
	case http2.SettingMaxConcurrentStreams:
		c.peer.maxStreams = s.Val
	case http2.SettingMaxFrameSize:
		c.peer.maxFrame = int(s.Val)
	case http2.SettingMaxHeaderListSize:
		c.peer.headerList = s.Val
	case http2.SettingEnablePush:
		if !c.server && s.Val != 0 {
			return protocolError("server enables push")
		}
	case http2.SettingInitialWindowSize:
		return c.applyWindow(int64(s.Val))
	}
	return nil
}

// applyWindow moves the windows of all streams by the difference (RFC 9113 6.9.2).
func (c *conn) applyWindow(window int64) error {
	by := window - c.peer.window
	c.peer.window = window
	for _, s := range c.streams {
		if s.sendWin+by > maxWindow {
			return connError{http2.ErrCodeFlowControl, "initial window overflows a stream's"}
		}
		c.widen(s, by)
	}
	return nil
}
