package hbone

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// closeGrace is how long an ending connection may take to write its last frames.
const closeGrace = time.Second

// conn is what the server's and the client's end have in common. mu guards all that follows it.
type conn struct {
	nc     net.Conn
	cfg    Config
	server bool
	fr     *http2.Framer // reads in the read loop; writes, under mu, into ctrl
	rd     budgetReader
	frames atomic.Uint64 // frames received
	done   chan struct{} // closed with err
	shut   chan struct{} // closed when nc is

	mu       sync.Mutex
	err      error // why the connection ended
	streams  map[uint32]*Stream
	held     int    // streams off the wire that their user has not closed yet
	lastPeer uint32 // highest stream the peer opened
	nextID   uint32 // next stream that we open
	idleFrom time.Time
	peer     h2.Peer

	writer           // what is to be sent
	inflow h2.Inflow // what may be received

	accept  []*Stream // opened by the peer, not yet taken by Accept
	arrived sync.Cond

	alive
	drain
	meters h2.Meters
}

func newConn(nc net.Conn, cfg Config, server bool) *conn {
	cfg = cfg.WithDefaults(server)
	c := &conn{
		nc: nc, cfg: cfg, server: server, nextID: 1,
		done: make(chan struct{}), shut: make(chan struct{}),
		streams: map[uint32]*Stream{}, peer: h2.InitialPeer(),
	}
	c.idleFrom = cfg.Now()
	c.arrived.L = &c.mu
	c.rd = budgetReader{r: nc}
	c.fr = http2.NewFramer((*ctrlWriter)(c), &c.rd)
	c.fr.SetMaxReadFrameSize(uint32(cfg.MaxFrame))
	c.fr.MaxHeaderListSize = uint32(cfg.MaxHeaderList)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(h2.HpackTable, nil)
	c.fr.SetReuseFrames()
	c.enc = hpack.NewEncoder(&c.block)
	c.sendWin = h2.RFCWindow
	c.inflow, c.meters = h2.NewInflow(&c.cfg), h2.NewMeters(&c.cfg)
	return c
}

// start sends what opens the connection and begins to read.
func (c *conn) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hello()
	c.creditConn()
	c.wake()
	c.watch()
	go c.readLoop()
}

// Done is closed when the connection has ended.
func (c *conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended, or nil while it lives.
func (c *conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// NumStreams returns how many streams are open.
func (c *conn) NumStreams() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

// Idle returns since when no stream is open; 0 while one is.
func (c *conn) Idle() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) > 0 {
		return 0
	}
	return max(c.cfg.Now().Sub(c.idleFrom), 1)
}

// Buffered returns how many received bytes wait to be read.
func (c *conn) Buffered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.inflow.Unread)
}

// Close ends the connection and every stream on it at once. It returns when the connection is
// closed, within seconds at most.
func (c *conn) Close() error {
	c.mu.Lock()
	c.end(ErrGone, &h2.ConnError{Code: http2.ErrCodeNo})
	c.mu.Unlock()
	<-c.shut
	return nil
}

// end closes the connection once, with a last GOAWAY if one is given. mu is held.
func (c *conn) end(cause error, goaway *h2.ConnError) {
	if c.err != nil {
		return
	}
	c.err = cause
	if goaway != nil {
		_ = c.fr.WriteGoAway(c.lastPeer, goaway.Code, []byte(goaway.What))
	}
	c.ready = ring{}
	for _, s := range c.streams {
		s.fail(h2.Lost(cause))
	}
	c.arrived.Broadcast()
	close(c.done)
	c.stopTimers()
	force := time.AfterFunc(closeGrace, func() { _ = c.nc.Close() })
	c.onShut = func() { force.Stop() }
	c.wake()
}

// drop takes a stream off the wire. mu is held.
func (c *conn) drop(s *Stream) {
	if s.gone {
		return
	}
	s.gone = true
	delete(c.streams, s.id)
	c.inflow.Ungrow(&s.flow)
	if !s.closed {
		c.held++
	}
	if len(c.streams) == 0 {
		c.idleFrom = c.cfg.Now()
	}
	if c.err == nil {
		c.drained()
	}
}

// idleStream reports whether no frame may name the stream yet. mu is held.
func (c *conn) idleStream(id uint32) bool {
	if c.server {
		return id%2 == 0 || id > c.lastPeer
	}
	return id%2 == 0 || id >= c.nextID
}

// ctrlWriter lets the Framer append to the control frames that wait. mu is held.
type ctrlWriter conn

func (w *ctrlWriter) Write(p []byte) (int, error) {
	w.ctrl = append(w.ctrl, p...)
	return len(p), nil
}

// headers queues a header block, split into CONTINUATION where it is long. mu is held.
func (c *conn) headers(id uint32, end bool, fields []hpack.HeaderField) {
	c.block.Reset()
	for _, f := range fields {
		_ = c.enc.WriteField(f) // a bytes.Buffer takes everything
	}
	h2.WriteHeaders(c.fr, id, end, c.block.Bytes(), c.peer.MaxFrame)
	if c.block.Cap() > 4*kib {
		c.block = bytes.Buffer{}
	}
}
