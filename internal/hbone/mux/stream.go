package mux

import (
	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// Stream is one tunnel. It ends by both sides' END_STREAM, by a reset of either, or with its
// connection. It holds no data.
type Stream struct {
	c       *Conn
	user    any
	next    *Stream // in turns
	flow    h2.Flow
	sendWin int32
	id      uint32
	status  uint16 // of the answer

	answered  bool // the response was sent or received
	remoteEnd bool // the peer has ended its side
	ended     bool // we have ended ours
	gone      bool // off the wire
	blocked   bool // Writable is due
	starved   bool // in Conn.starved
	wants     bool // has something to send
	place     place
}

func (c *Conn) newStream(id uint32, user any) *Stream {
	s := &Stream{c: c, id: id, user: user, flow: c.inflow.Stream(), sendWin: int32(c.peer.Window)}
	c.streams[id] = s
	return s
}

// ID returns the HTTP/2 stream identifier.
func (s *Stream) ID() uint32 { return s.id }

// Conn returns the connection under the stream.
func (s *Stream) Conn() *Conn { return s.c }

// User returns what SetUser or Open was given.
func (s *Stream) User() any { return s.user }

// SetUser keeps something of the owner's.
func (s *Stream) SetUser(user any) { s.user = user }

// Gone reports whether the stream has ended.
func (s *Stream) Gone() bool { return s.gone }

// Unread returns how many bytes were given to Data and not Consumed yet.
func (s *Stream) Unread() int { return int(s.flow.Unread) }

// remoteEnded notes the peer's END_STREAM.
func (s *Stream) remoteEnded() {
	if s.remoteEnd = true; s.ended {
		s.c.drop(s)
	}
	s.c.h.End(s)
}

// breakOff resets a stream for what its peer did.
func (s *Stream) breakOff(code http2.ErrCode, why error) {
	s.c.reset(s.id, code)
	s.fail(h2.Broken(why))
	s.c.creditConn()
}

// fail takes the stream off the wire and tells its owner.
func (s *Stream) fail(err error) {
	s.c.drop(s)
	s.c.inflow.Discard(&s.flow)
	s.c.h.Broken(s, err)
}
