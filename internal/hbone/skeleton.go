package hbone

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Request is what opens a tunnel.
type Request struct {
	Authority   string // "ip:port", "[v6]:port" or "hostname:port"
	Baggage     string
	Forwarded   string
	Traceparent string
	Header      []hpack.HeaderField // the others; names in lower case
}

// Stream is one tunnel: a net.Conn with half-close.
type Stream struct{ net.Conn }

// ServerConn is the accepting side of a connection.
type ServerConn struct{}

// ClientConn is the opening side of a connection.
type ClientConn struct{}

func NewServer(c net.Conn, cfg Config) *ServerConn                  { return &ServerConn{} }
func (*ServerConn) Accept() (*Stream, error)                        { return nil, errors.ErrUnsupported }
func (*ServerConn) GoAway()                                         {}
func (*ServerConn) Close() error                                    { return nil }
func (*ServerConn) Done() <-chan struct{}                           { return nil }
func (*ServerConn) NumStreams() int                                 { return 0 }
func NewClient(c net.Conn, cfg Config) (*ClientConn, error)         { return nil, errors.ErrUnsupported }
func (*ClientConn) Open(context.Context, *Request) (*Stream, error) { return nil, errors.ErrUnsupported }
func (*ClientConn) Room() int                                       { return 0 }
func (*ClientConn) NumStreams() int                                 { return 0 }
func (*ClientConn) Idle() time.Duration                             { return 0 }
func (*ClientConn) GoAway()                                         {}
func (*ClientConn) Close() error                                    { return nil }
func (*ClientConn) Done() <-chan struct{}                           { return nil }
func (*Stream) Request() *Request                                   { return nil }
func (*Stream) Respond(status int, hdr ...hpack.HeaderField) error  { return errors.ErrUnsupported }
func (*Stream) WaitResponse(context.Context) (int, []hpack.HeaderField, error) {
	return 0, nil, errors.ErrUnsupported
}
func (*Stream) CloseWrite() error   { return errors.ErrUnsupported }
func (*Stream) Reset(http2.ErrCode) {}

// DialConfig says how to reach a tunnel's far end.
type DialConfig struct {
	Addr    string      // proxy to connect to: "ip:15008"
	TLS     *tls.Config // client side, ALPN h2
	Request Request
	Conn    Config
}
