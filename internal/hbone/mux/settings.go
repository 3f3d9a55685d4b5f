package mux

import (
	"maps"
	"slices"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// hello sends the preface and our SETTINGS.
func (c *Conn) hello(now time.Time) {
	if !c.server {
		_, _ = (*control)(c).Write([]byte(http2.ClientPreface))
	}
	_ = c.fr.WriteSettings(c.cfg.Settings(c.server)...)
	c.helloAt = now
}

func (c *Conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		if !c.helloAt.IsZero() {
			c.inflow.Sample(c.cfg.Now().Sub(c.helloAt))
			c.helloAt = time.Time{}
		}
		return c.meters.Charge(f.Type)
	}
	if err := c.chargeReply(f.Type); err != nil {
		return err
	}
	if !c.peer.Known {
		c.noRoom = !c.server // there may be room, and it is now known
	}
	c.peer.Hello()
	if err := f.ForeachSetting(c.applySetting); err != nil {
		return h2.MapReadError(err)
	}
	_ = c.fr.WriteSettingsAck()
	return nil
}

func (c *Conn) applySetting(set http2.Setting) error {
	by, err := c.peer.Apply(set, c.enc, c.server)
	if err != nil || by == 0 {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(c.streams)) {
		s := c.streams[id]
		switch {
		case s == nil: // a handler ended it
		case int64(s.sendWin)+by > h2.MaxWindow:
			return h2.Fatal(http2.ErrCodeFlowControl, "initial window overflows a stream's")
		default:
			s.widen(by)
		}
	}
	return nil
}
