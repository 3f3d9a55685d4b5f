package hbone

import (
	"fmt"
	"net"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// ServerConn is the accepting end of a connection.
type ServerConn struct{ *conn }

// NewServer serves tunnels on c, which it owns from now on. TLS handshakes are the caller's.
func NewServer(c net.Conn, cfg Config) *ServerConn {
	s := &ServerConn{newConn(c, cfg, true)}
	s.start()
	return s
}

// Accept returns the next tunnel that the peer opens; it is to be answered with Respond, and closed.
// It fails once the connection has ended: with ErrGone if in order, else ErrConnLost.
func (s *ServerConn) Accept() (*Stream, error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for len(c.accept) > 0 {
			st := c.accept[0]
			c.accept[0] = nil
			if c.accept = c.accept[1:]; len(c.accept) == 0 {
				c.accept = nil
			}
			if st.err == nil {
				return st, nil
			}
			st.abandon() // reset before anybody saw it
		}
		if c.err != nil {
			return nil, c.err
		}
		c.drained()
		if c.err == nil {
			c.arrived.Wait()
		}
	}
}

// abandon is Close for a stream that never had a user. mu is held.
func (s *Stream) abandon() {
	s.closed = true
	if s.gone {
		s.c.held--
	}
	s.discard()
}

// Respond answers the tunnel's request. A status of 300 or more ends our side: only Close is left.
func (s *Stream) Respond(status int, hdr ...hpack.HeaderField) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.server || s.answered || status < 200 || status > 599:
		return fmt.Errorf("answer tunnel with status %d: %w", status, ErrHeaders)
	case s.closed:
		return net.ErrClosed
	case s.err != nil:
		return s.err
	}
	fields := append([]hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}}, hdr...)
	if err := c.peer.Fits(fields); err != nil {
		return err
	}
	s.answered, s.status = true, status
	refused := status >= 300
	c.headers(s.id, refused, fields)
	if refused {
		s.ended = true
		if s.remoteEnd {
			c.drop(s)
		}
	}
	c.wake()
	return nil
}

// lastOpened returns the highest stream that the peer has opened.
func (c *conn) lastOpened() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastPeer
}

// onOpen takes in a request for a tunnel.
func (c *conn) onOpen(mh *http2.MetaHeadersFrame) error {
	if mh.Truncated {
		return c.onBadRequest(mh.StreamID, 431, mh.StreamEnded(), fmt.Errorf("%w: larger than %d bytes", ErrHeaders, c.cfg.MaxHeaderList))
	}
	req, err := ParseRequest(mh)
	if err != nil {
		return c.onBadRequest(mh.StreamID, 400, mh.StreamEnded(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastPeer = mh.StreamID
	if c.final || len(c.streams) >= c.cfg.MaxStreams {
		c.ctrl = h2.AppendReset(c.ctrl, mh.StreamID, http2.ErrCodeRefusedStream)
		c.wake()
		return c.meters.ChargeReset()
	}
	if c.held > 4*c.cfg.MaxStreams {
		return h2.Fatal(http2.ErrCodeEnhanceYourCalm, "streams come and go faster than they can be served")
	}
	if c.err != nil {
		return c.err
	}
	s := c.newStream(mh.StreamID, req)
	s.remoteEnd = mh.StreamEnded()
	c.accept = append(c.accept, s)
	c.arrived.Signal()
	return nil
}

// onBadRequest answers a malformed request; it costs its stream, and many of them the connection.
func (c *conn) onBadRequest(id uint32, status int, ended bool, why error) error {
	if c.cfg.OnBadRequest != nil {
		c.cfg.OnBadRequest(why)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastPeer = id
	c.headers(id, true, []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}})
	if !ended {
		c.ctrl = h2.AppendReset(c.ctrl, id, http2.ErrCodeNo)
	}
	c.wake()
	return c.meters.ChargeReset()
}
