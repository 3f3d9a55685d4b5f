package hbone

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// drain is the state of an orderly end: RFC 9113 6.8's two GOAWAY frames, then the last stream.
type drain struct {
	leaving    bool // we said GOAWAY
	final      bool // and which stream is the last
	left       bool // the peer said GOAWAY
	drainPing  [8]byte
	finalTimer *time.Timer
}

// GoAway begins an orderly end: no new streams, those that are open go on, the connection closes after
// the last one. Streams that the peer opened before it could know are still served.
func (c *conn) GoAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.leaving {
		return
	}
	c.leaving = true
	if !c.server {
		c.lastGoAway()
		return
	}
	_ = c.fr.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
	binary.BigEndian.PutUint64(c.drainPing[:], rand.Uint64())
	_ = c.fr.WritePing(false, c.drainPing)
	c.finalTimer = time.AfterFunc(h2.FinalAfter, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lastGoAway()
	})
	c.wake()
}

// lastGoAway says which stream is the last. mu is held.
func (c *conn) lastGoAway() {
	if c.final || c.err != nil {
		return
	}
	c.final = true
	_ = c.fr.WriteGoAway(c.lastPeer, http2.ErrCodeNo, nil)
	c.wake()
	c.drained()
}

// drained ends the connection when it is leaving and its last stream is gone. mu is held.
func (c *conn) drained() {
	if len(c.streams) == 0 && len(c.accept) == 0 && (c.final || c.left && !c.server) {
		c.end(ErrGone, &h2.ConnError{Code: http2.ErrCodeNo})
	}
}

// onGoAway takes leave of the peer: streams that it says it will not serve are refused. mu is held.
func (c *conn) onGoAway(f *http2.GoAwayFrame) error {
	c.left = true
	if f.ErrCode != http2.ErrCodeNo {
		return fmt.Errorf("peer ended the connection: %v %q", f.ErrCode, f.DebugData())
	}
	for id, s := range c.streams {
		if !c.server && id > f.LastStreamID {
			s.fail(fmt.Errorf("%w: peer is leaving", ErrRefused))
		}
	}
	c.drained()
	return c.meters.Charge(f.Type)
}
