package hbone

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// ClientConn is the opening end of a connection.
type ClientConn struct{ *conn }

// NewClient opens tunnels over c, which it owns from now on. TLS handshakes are the caller's. It does
// not wait for the peer: Open may be called at once.
func NewClient(c net.Conn, cfg Config) (*ClientConn, error) {
	if tc, ok := c.(*tls.Conn); ok {
		if st := tc.ConnectionState(); st.HandshakeComplete && st.NegotiatedProtocol != http2.NextProtoTLS {
			return nil, fmt.Errorf("open HTTP/2 on connection: negotiated protocol is %q", st.NegotiatedProtocol)
		}
	}
	cc := &ClientConn{newConn(c, cfg, false)}
	cc.start()
	return cc, nil
}

// Open opens a tunnel: it sends the request and does not wait for the answer. Data may be written at
// once. It fails with ErrNoRoom when Room is 0.
func (cc *ClientConn) Open(ctx context.Context, req *Request) (*Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open tunnel: %w", err)
	}
	fields, err := req.Fields()
	if err != nil {
		return nil, fmt.Errorf("open tunnel: %w", err)
	}
	c := cc.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, fmt.Errorf("open tunnel: %w", c.err)
	}
	if c.room() == 0 {
		return nil, fmt.Errorf("open tunnel: %w", ErrNoRoom)
	}
	if err := c.peer.Fits(fields); err != nil {
		return nil, fmt.Errorf("open tunnel: %w", err)
	}
	s := c.newStream(c.nextID, req)
	c.nextID += 2
	c.headers(s.id, false, fields)
	c.wake()
	return s, nil
}

// Room returns how many streams may be opened now; 0 after GOAWAY from either side.
func (cc *ClientConn) Room() int {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return cc.room()
}

func (c *conn) room() int {
	if c.err != nil || c.leaving || c.left || c.nextID > h2.MaxWindow {
		return 0
	}
	most := int(min(uint32(c.cfg.MaxStreams), c.peer.MaxStreams))
	return max(0, most-len(c.streams))
}

// WaitResponse waits for the answer to the tunnel's request. A status other than 200 means that there
// is no tunnel; the stream is still to be closed.
func (s *Stream) WaitResponse(ctx context.Context) (status int, hdr []hpack.HeaderField, err error) {
	stop := context.AfterFunc(ctx, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		s.canRead.Broadcast()
	})
	defer stop()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for {
		switch {
		case s.answered:
			return s.status, s.header, nil
		case s.closed:
			return 0, nil, net.ErrClosed
		case s.err != nil:
			return 0, nil, fmt.Errorf("wait for tunnel's answer: %w", s.err)
		case ctx.Err() != nil:
			return 0, nil, fmt.Errorf("wait for tunnel's answer: %w", context.Cause(ctx))
		case s.readBy.past:
			return 0, nil, fmt.Errorf("wait for tunnel's answer: %w", s.readBy.exceeded())
		}
		s.canRead.Wait()
	}
}
