package hbone

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// DialConfig says how to reach a tunnel's far end.
type DialConfig struct {
	Addr    string      // the proxy to connect to, "ip:15008"
	TLS     *tls.Config // client side, ALPN h2; it decides who the peer may be
	Request Request     // Authority at least
	Conn    Config
	// Dial makes the TCP connection (default net.Dialer's DialContext).
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// StatusError is a tunnel's refusal.
type StatusError struct{ Status int }

func (e StatusError) Error() string { return fmt.Sprintf("tunnel refused with status %d", e.Status) }

// Tunnel is a Stream as net.Conn together with the connection under it.
type Tunnel struct {
	*Stream
	State tls.ConnectionState // of the connection; holds the peer's certificate
	under func()              // lets go of the connection
}

// Close ends the tunnel.
func (t *Tunnel) Close() error {
	err := t.Stream.Close()
	t.under()
	return err
}

// Dial opens a tunnel on a connection of its own, which ends with it. A refusal is a StatusError.
// The net.Conn is a *Tunnel.
func Dial(ctx context.Context, cfg DialConfig) (net.Conn, error) {
	cc, state, err := DialClient(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := cc.Connect(ctx, &cfg.Request)
	if err != nil {
		_ = cc.Close()
		return nil, fmt.Errorf("dial tunnel to %s by %s: %w", cfg.Request.Authority, cfg.Addr, err)
	}
	return &Tunnel{Stream: s, State: state, under: cc.GoAway}, nil
}

// DialClient makes the connection for many tunnels; cfg.Request is not used.
func DialClient(ctx context.Context, cfg DialConfig) (*ClientConn, tls.ConnectionState, error) {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	nc, err := dial(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, tls.ConnectionState{}, fmt.Errorf("dial proxy: %w", err)
	}
	tc := tls.Client(nc, cfg.TLS)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, tls.ConnectionState{}, fmt.Errorf("handshake with proxy %s: %w", cfg.Addr, err)
	}
	cc, err := NewClient(tc, cfg.Conn)
	if err != nil {
		_ = tc.Close()
		return nil, tls.ConnectionState{}, err
	}
	return cc, tc.ConnectionState(), nil
}

// Connect opens a tunnel and waits for its 200; any other answer is a StatusError.
func (cc *ClientConn) Connect(ctx context.Context, req *Request) (*Stream, error) {
	s, err := cc.Open(ctx, req)
	if err != nil {
		return nil, err
	}
	status, _, err := s.WaitResponse(ctx)
	if err == nil && status != 200 {
		err = StatusError{status}
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}
