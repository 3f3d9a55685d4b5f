package hbone

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	handshakeTime  = 10 * time.Second
	listenerConns  = 1024 // connections of one Listener, those in their handshake included
	listenerQueued = 64   // tunnels that wait for Accept
)

// ListenConfig says whom a Listener serves.
type ListenConfig struct {
	TLS  *tls.Config // server side, ALPN h2; it decides who the peer may be
	Conn Config
	// Admit judges a tunnel; a status other than 200 refuses it. Nil admits all that TLS admits.
	Admit func(*Request, tls.ConnectionState) (status int)
}

// Listener is a net.Listener whose connections are tunnels.
type Listener struct {
	l      net.Listener
	cfg    ListenConfig
	queue  chan *Tunnel
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	slots  chan struct{}
	wg     sync.WaitGroup
}

// NewListener serves tunnels on the connections of l, which it owns from now on.
func NewListener(l net.Listener, cfg ListenConfig) *Listener {
	ctx, cancel := context.WithCancel(context.Background())
	ln := &Listener{l: l, cfg: cfg, ctx: ctx, cancel: cancel,
		queue: make(chan *Tunnel, listenerQueued), slots: make(chan struct{}, listenerConns)}
	ln.wg.Go(ln.run)
	return ln
}

// Addr returns the address that is listened on.
func (ln *Listener) Addr() net.Addr { return ln.l.Addr() }

// Accept returns the next tunnel, answered 200: a *Tunnel.
func (ln *Listener) Accept() (net.Conn, error) {
	select {
	case t := <-ln.queue:
		return t, nil
	case <-ln.ctx.Done():
		return nil, fmt.Errorf("accept tunnel: %w", net.ErrClosed)
	}
}

// Close ends the listener, its connections and all their tunnels.
func (ln *Listener) Close() error {
	ln.cancel()
	err := ln.l.Close()
	ln.wg.Wait()
	if err != nil {
		return fmt.Errorf("close tunnel listener: %w", err)
	}
	return nil
}

func (ln *Listener) run() {
	for {
		select {
		case ln.slots <- struct{}{}:
		case <-ln.ctx.Done():
			return
		}
		nc, err := ln.l.Accept()
		if err != nil {
			<-ln.slots
			if ln.ctx.Err() != nil || !pause(ln.ctx) {
				return
			}
			continue
		}
		ln.wg.Go(func() {
			defer func() { <-ln.slots }()
			ln.serve(nc)
		})
	}
}

// pause waits a moment after a failed accept (no descriptors left, say) and reports whether to go on.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(50 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

func (ln *Listener) serve(nc net.Conn) {
	tc := tls.Server(nc, ln.cfg.TLS)
	ctx, cancel := context.WithTimeout(ln.ctx, handshakeTime)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return
	}
	sc := NewServer(tc, ln.cfg.Conn)
	defer sc.Close()
	stop := context.AfterFunc(ln.ctx, func() { _ = sc.Close() })
	defer stop()
	state := tc.ConnectionState()
	for {
		s, err := sc.Accept()
		if err != nil {
			return
		}
		ln.admit(s, state)
	}
}

// admit answers one tunnel and queues it.
func (ln *Listener) admit(s *Stream, state tls.ConnectionState) {
	status := 200
	if ln.cfg.Admit != nil {
		status = ln.cfg.Admit(s.Request(), state)
	}
	if err := s.Respond(status); err != nil || status != 200 {
		_ = s.Close()
		return
	}
	select {
	case ln.queue <- &Tunnel{Stream: s, State: state, under: func() {}}:
	case <-ln.ctx.Done():
		_ = s.Close()
	}
}
