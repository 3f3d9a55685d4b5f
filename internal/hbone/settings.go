package hbone

import (
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// hello queues the preface and our SETTINGS. mu is held.
func (c *conn) hello() {
	if !c.server {
		c.ctrl = append(c.ctrl, http2.ClientPreface...)
	}
	_ = c.fr.WriteSettings(c.cfg.Settings(c.server)...)
	c.helloAt = c.cfg.Now()
}

func (c *conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		if !c.helloAt.IsZero() {
			c.inflow.Sample(c.cfg.Now().Sub(c.helloAt))
			c.helloAt = time.Time{}
		}
		return c.meters.Charge(f.Type)
	}
	if err := c.meters.ChargeReply(f.Type); err != nil {
		return err
	}
	c.peer.Hello()
	if err := f.ForeachSetting(c.applySetting); err != nil {
		return h2.MapReadError(err)
	}
	_ = c.fr.WriteSettingsAck()
	c.wake()
	return nil
}

func (c *conn) applySetting(set http2.Setting) error {
	by, err := c.peer.Apply(set, c.enc, c.server)
	if err != nil || by == 0 {
		return err
	}
	return c.moveWindows(by)
}

// moveWindows moves the windows of all streams (RFC 9113 6.9.2).
func (c *conn) moveWindows(by int64) error {
	for _, s := range c.streams {
		if s.sendWin+by > h2.MaxWindow {
			return h2.Fatal(http2.ErrCodeFlowControl, "initial window overflows a stream's")
		}
		c.widen(s, by)
	}
	return nil
}
