package mux

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// drain is the state of an orderly end: RFC 9113 6.8's two GOAWAY frames, then the last stream.
type drain struct {
	leaving   bool // we said GOAWAY
	final     bool // and which stream is the last
	left      bool // the peer said GOAWAY
	drainPing [8]byte
	finalAt   time.Time
}

// GoAway begins an orderly end: no new streams, those that are open go on, the connection ends after
// the last one (Err is hbone.ErrGone then). Streams that the peer opened before it could know are still
// served.
func (c *Conn) GoAway() {
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
	c.finalAt = c.cfg.Now().Add(h2.FinalAfter)
}

// Draining reports whether either side has said GOAWAY.
func (c *Conn) Draining() bool { return c.leaving || c.left }

// lastGoAway says which stream is the last.
func (c *Conn) lastGoAway() {
	if c.final || c.err != nil {
		return
	}
	c.final = true
	_ = c.fr.WriteGoAway(c.lastPeer, http2.ErrCodeNo, nil)
	c.drained()
}

// drained ends the connection when it is leaving and its last stream is gone.
func (c *Conn) drained() {
	if len(c.streams) == 0 && (c.final || c.left && !c.server) {
		c.end(hbone.ErrGone, &h2.ConnError{Code: http2.ErrCodeNo})
	}
}

// refuseAfter breaks the streams that the peer will not serve.
func (c *Conn) refuseAfter(last uint32) {
	for _, id := range slices.Sorted(maps.Keys(c.streams)) {
		if s := c.streams[id]; s != nil && id > last {
			s.fail(fmt.Errorf("%w: peer is leaving", hbone.ErrRefused))
		}
	}
}
