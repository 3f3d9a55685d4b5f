package loop

import (
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/mux"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

var (
	_ mux.Handler = (*client)(nil)
	_ mux.Handler = (*server)(nil)
)

// flowOf returns the flow of a stream, or nil if it has ended.
func flowOf(s *mux.Stream) *flow {
	if f, ok := s.User().(*flow); ok && !f.ended {
		return f
	}
	return nil
}

// Data delivers to the socket at the other end, soon.
func (c *carrier) Data(s *mux.Stream, p []byte) {
	if f := flowOf(s); f != nil {
		c.w.gather(f.socket(), p)
		return
	}
	s.Consumed(len(p))
}

// End passes the peer's end on.
func (c *carrier) End(s *mux.Stream) {
	if f := flowOf(s); f != nil {
		c.w.deliver()
		if !f.ended {
			f.socket().other().ended()
		}
	}
}

// Writable has the tunnel send what its socket has.
func (c *carrier) Writable(s *mux.Stream) {
	if f := flowOf(s); f != nil {
		if x := f.socket(); x.readable || !x.other().pend.empty() {
			s.Want()
			c.mark()
		}
	}
}

// Room is of no interest: note tells.
func (c *carrier) Room() {}

// client is the Handler of a connection that we have opened.
type client carrier

func (h *client) Data(s *mux.Stream, p []byte)           { (*carrier)(h).Data(s, p) }
func (h *client) End(s *mux.Stream)                      { (*carrier)(h).End(s) }
func (h *client) Writable(s *mux.Stream)                 { (*carrier)(h).Writable(s) }
func (h *client) Room()                                  { (*carrier)(h).Room() }
func (h *client) Opened(s *mux.Stream, _ *hbone.Request) { s.Close() } // never called
func (h *client) BadRequest(error)                       {}

// Answered goes on with the flow that asked for the tunnel.
func (h *client) Answered(s *mux.Stream, status int, _ []hpack.HeaderField) {
	if f := flowOf(s); f != nil {
		f.opened(s, status)
	}
}

// Broken ends the flow, or its attempt.
func (h *client) Broken(s *mux.Stream, err error) {
	if f := flowOf(s); f != nil {
		h.w.deliver()
		switch {
		case f.ended:
		case f.task != nil:
			f.notOpened(err)
		default:
			f.to.gone(err)
		}
	}
}

// server is the Handler of a connection that a peer has opened.
type server carrier

func (h *server) Data(s *mux.Stream, p []byte) { (*carrier)(h).Data(s, p) }
func (h *server) End(s *mux.Stream)            { (*carrier)(h).End(s) }
func (h *server) Writable(s *mux.Stream)       { (*carrier)(h).Writable(s) }
func (h *server) Room()                        { (*carrier)(h).Room() }

// Answered is never called.
func (h *server) Answered(*mux.Stream, int, []hpack.HeaderField) {}

// Opened begins a flow.
func (h *server) Opened(s *mux.Stream, req *hbone.Request) {
	c, e := (*carrier)(h), h.p.e
	if !e.begin(h.p) {
		s.Close()
		return
	}
	r := c.record()
	r.Request = req
	f := e.newFlow(h.p, h.w, r)
	f.from.st, f.from.c = s, c
	s.SetUser(f)
	f.start()
}

// Broken ends the flow.
func (h *server) Broken(s *mux.Stream, err error) {
	if f := flowOf(s); f != nil {
		h.w.deliver()
		if !f.ended {
			f.from.gone(err)
		}
	}
}

// BadRequest tells of a request that was answered 400: a record that nobody was asked about.
func (h *server) BadRequest(err error) {
	h.p.e.report((*carrier)(h).record(), outcome.End{Reason: reason.BadRequest, Detail: err.Error()})
}

// record begins the record of a tunnel.
func (c *carrier) record() *engine.Record {
	r := c.p.e.record(c.p, engine.HBONE)
	r.Source, r.Dest, r.Peer = c.of.Source, c.of.Dest, c.id()
	return r
}

func (c *carrier) id() identity.ID { return c.of.Peer }
