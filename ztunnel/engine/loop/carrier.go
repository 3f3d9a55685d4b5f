package loop

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone/mux"
	"github.com/ambitmesh/ambit/internal/record"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/gate"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/trust"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// closeGrace is how long an ending connection may take to write its last frames.
const closeGrace = time.Second

// carrier is one mTLS connection, which carries tunnels. It is its worker's, but for what is atomic or in
// pooled.
type carrier struct {
	w   *worker
	p   *pod // whose: that opened it, or that it was opened to
	fd  int
	in  *record.Reader
	out *record.Writer
	mux *mux.Conn

	peer   trust.Peer
	pooled                // of one that we have opened
	of     *engine.Record // of one that a peer has opened: where from and where to
	leg    legs.Tuple     // of one that we have opened
	peers  []string       // who the peer may be, of one that we have opened

	text     func([]byte) error // receives what a record holds; made once
	ahead    []byte             // was read with the end of the handshake
	left     []byte             // the start of a record; lent by the worker's pool, nil if there is none
	readable bool
	hup      bool
	stuck    bool // the socket is full
	dirty    bool // to be flushed in this turn
	ending   bool // its last frames are being written
	closed   bool
	again    bool  // it is to have another turn
	moved    int64 // bytes since the last look
	grace    poll.Timer

	queued atomic.Int64 // bytes received and not delivered
	free   atomic.Int32 // how many tunnels may be opened
	dead   atomic.Bool  // no more tunnels go through it
	hot    atomic.Bool  // it moves as much as a worker can, nearly
}

// start begins to carry, on the worker.
func (c *carrier) start(accepts bool) error {
	c.out.Lend(&c.w.records)
	c.text = func(p []byte) error { return c.mux.Receive(p) }
	cfg := gate.Queue(c.p.Pod, c.p.e.opts.Now)
	if accepts {
		c.mux = mux.NewServer(c.out, (*server)(c), cfg)
	} else {
		c.mux = mux.NewClient(c.out, (*client)(c), cfg)
	}
	if err := c.w.Add(c.fd, c); err != nil {
		return err
	}
	c.w.carries(c)
	c.mark()
	return nil
}

// Ready is told of the socket's events.
func (c *carrier) Ready(ev poll.Events) {
	if ev.Ended() || ev.Urgent() {
		c.hup = true
	}
	if ev.Writable() && c.stuck {
		c.stuck = false
		c.mark()
	}
	if ev.Readable() && !c.closed {
		c.readable = true
		c.read()
	}
}

// Run is another turn.
func (c *carrier) Run() {
	c.again = false
	if c.closed {
		return
	}
	c.mark()
	if c.readable {
		c.read()
	}
}

// later asks for another turn.
func (c *carrier) later() {
	if !c.again {
		c.again = true
		c.w.Again(c)
	}
}

// mark has the connection flushed at the end of this turn.
func (c *carrier) mark() {
	if !c.dirty && !c.closed {
		c.dirty = true
		c.w.Flush(c)
	}
}

// note tells others how the connection is.
func (c *carrier) note() {
	c.queued.Store(int64(c.mux.Unread()))
	c.free.Store(int32(c.mux.Room()))
	if c.mux.Err() != nil {
		c.dead.Store(true)
	}
}

// lost says that the connection broke, and closes it.
func (c *carrier) lost(why error) {
	if c.closed {
		return
	}
	if e, ok := errors.AsType[*record.RecordError](why); ok {
		c.out.Alert(e.Alert)
	}
	if errors.Is(why, io.EOF) && c.mux.Err() == nil {
		why = io.ErrUnexpectedEOF // of HTTP/2, which says goodbye
	}
	c.mux.Fail(why)
	c.write()
	c.close()
}

// post runs f on the connection's worker, unless it is closed by then.
func (c *carrier) post(f func()) {
	c.w.Post(func() {
		if !c.closed {
			f()
			c.mark()
		}
	})
}

// goAway begins an orderly end, from any goroutine.
func (c *carrier) goAway() { c.post(func() { c.mux.GoAway() }) }

// cut ends the connection with all that it carries, from any goroutine.
func (c *carrier) cut() { c.post(func() { c.mux.Close() }) }

// close lets go of everything.
func (c *carrier) close() {
	if c.closed {
		return
	}
	c.closed = true
	c.dead.Store(true)
	c.free.Store(0)
	c.queued.Store(0)
	c.w.Cancel(&c.grace)
	c.w.Forget(c.fd, false)
	closeSocket(c.fd, false)
	c.in.Wipe()
	c.out.Wipe()
	c.keep(nil)
	c.w.dropped(c)
	c.p.dropCarrier(c)
	if c.leg.Local.IsValid() {
		c.p.e.legs.Remove(c.leg)
	}
	c.p.Usage.Tunnels.Add(-1)
	if c.of == nil {
		c.p.inside.Leave()
		return
	}
	c.p.e.finish(c.p)
}
