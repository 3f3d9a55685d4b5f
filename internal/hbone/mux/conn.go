package mux

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// Conn is one end of a connection.
type Conn struct {
	out    Out
	h      Handler
	cfg    hbone.Config
	server bool
	err    error // why the connection ended

	streams  map[uint32]*Stream
	recent   *Stream // the last one looked up
	lastPeer uint32  // highest stream the peer opened
	nextID   uint32  // next stream that we open
	idleFrom time.Time
	noRoom   bool // a client's owner waits for room

	peer   h2.Peer
	inflow h2.Inflow
	meters h2.Meters
	fr     *http2.Framer // of frames beside DATA: reads from whole, writes to out
	whole  bytes.Reader
	dec    *hpack.Decoder
	enc    *hpack.Encoder
	block  bytes.Buffer

	receiver
	turns
	alive
	drain
}

// NewServer returns the accepting end, with its first frames in out.
func NewServer(out Out, h Handler, cfg hbone.Config) *Conn { return newConn(out, h, cfg, true) }

// NewClient returns the opening end, with the preface and its first frames in out. Open may be called
// at once.
func NewClient(out Out, h Handler, cfg hbone.Config) *Conn { return newConn(out, h, cfg, false) }

func newConn(out Out, h Handler, cfg hbone.Config, server bool) *Conn {
	c := &Conn{out: out, h: h, cfg: cfg.WithDefaults(server), server: server, nextID: 1,
		streams: map[uint32]*Stream{}, peer: h2.InitialPeer()}
	c.inflow, c.meters = h2.NewInflow(&c.cfg), h2.NewMeters(&c.cfg)
	c.dec = hpack.NewDecoder(h2.HpackTable, nil)
	c.enc = hpack.NewEncoder(&c.block)
	c.sendWin = h2.RFCWindow
	c.newFramer()
	now := c.cfg.Now()
	c.idleFrom, c.lookAt = now, now.Add(c.cfg.PingEvery)
	c.hello(now)
	c.creditConn()
	return c
}

// newFramer also lets go of the old one's buffers.
func (c *Conn) newFramer() {
	c.fr = http2.NewFramer((*control)(c), &c.whole)
	c.fr.SetMaxReadFrameSize(uint32(c.cfg.MaxFrame))
	c.fr.MaxHeaderListSize = uint32(c.cfg.MaxHeaderList)
	c.fr.ReadMetaHeaders = c.dec
}

// control lets the Framer write to out: a frame at a time, none larger than a record.
type control Conn

func (w *control) Write(p []byte) (int, error) {
	n := copy(w.out.Space(len(p)), p)
	w.out.Advance(n)
	return n, nil
}

// Err returns why the connection ended, or nil while it lives: hbone.ErrGone if in order, else
// hbone.ErrConnLost. What is in Out then is still to be sent.
func (c *Conn) Err() error { return c.err }

// NumStreams returns how many streams are open.
func (c *Conn) NumStreams() int { return len(c.streams) }

// Idle returns since when no stream is open; 0 while one is.
func (c *Conn) Idle() time.Duration {
	if len(c.streams) > 0 {
		return 0
	}
	return max(c.cfg.Now().Sub(c.idleFrom), 1)
}

// Unread returns how many bytes were given to Data and not Consumed yet, of all streams.
func (c *Conn) Unread() int { return int(c.inflow.Unread) }

// Close ends the connection and every stream on it at once, with a GOAWAY.
func (c *Conn) Close() { c.end(hbone.ErrGone, &h2.ConnError{Code: http2.ErrCodeNo}) }

// Fail says that what carries the connection broke: it ends with every stream on it.
func (c *Conn) Fail(why error) { c.end(h2.Lost(why), nil) }

// end ends the connection once, with a last GOAWAY if one is given.
func (c *Conn) end(cause error, goaway *h2.ConnError) {
	if c.err != nil {
		return
	}
	c.err = cause
	if goaway != nil {
		_ = c.fr.WriteGoAway(c.lastPeer, goaway.Code, []byte(goaway.What))
	}
	for _, id := range slices.Sorted(maps.Keys(c.streams)) {
		if s := c.streams[id]; s != nil {
			s.fail(h2.Lost(cause))
		}
	}
	c.turns, c.receiver = turns{}, receiver{}
}

// settle does what is due once the streams have changed: an orderly end, and word of room.
func (c *Conn) settle() {
	c.drained()
	if c.noRoom && c.room() > 0 {
		c.noRoom = false
		c.h.Room()
	}
}

func (c *Conn) stream(id uint32) *Stream {
	if s := c.recent; s != nil && s.id == id {
		return s
	}
	s := c.streams[id]
	if s != nil {
		c.recent = s
	}
	return s
}

// drop takes a stream off the wire.
func (c *Conn) drop(s *Stream) {
	if s.gone {
		return
	}
	s.gone = true
	delete(c.streams, s.id)
	if c.recent == s {
		c.recent = nil
	}
	c.inflow.Ungrow(&s.flow)
	if len(c.streams) == 0 {
		c.idleFrom = c.cfg.Now()
	}
}

// idleStream reports whether no frame may name the stream yet.
func (c *Conn) idleStream(id uint32) bool {
	if c.server {
		return id%2 == 0 || id > c.lastPeer
	}
	return id%2 == 0 || id >= c.nextID
}

// headers sends a header block.
func (c *Conn) headers(id uint32, end bool, fields []hpack.HeaderField) {
	c.block.Reset()
	for _, f := range fields {
		_ = c.enc.WriteField(f) // a bytes.Buffer takes everything
	}
	h2.WriteHeaders(c.fr, id, end, c.block.Bytes(), min(c.peer.MaxFrame, h2.MaxData))
	if c.block.Cap() > smallBuffer {
		c.block = bytes.Buffer{}
		c.newFramer()
	}
}

// reset sends RST_STREAM.
func (c *Conn) reset(id uint32, code http2.ErrCode) {
	var b [h2.FrameHeader + 4]byte
	_, _ = (*control)(c).Write(h2.AppendReset(b[:0], id, code))
}
