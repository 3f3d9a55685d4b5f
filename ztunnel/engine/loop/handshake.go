package loop

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/record"
)

// socket is a descriptor while the runtime polls it, for a handshake.
type socket struct {
	*os.File
	local, remote netip.AddrPort
}

var _ net.Conn = (*socket)(nil)

func newSocket(fd int, local, remote netip.AddrPort) *socket {
	return &socket{os.NewFile(uintptr(fd), "tcp"), local, remote}
}

// LocalAddr is our end.
func (s *socket) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local) }

// RemoteAddr is the other end.
func (s *socket) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

// detach takes the descriptor away from the runtime, for an event loop.
func (s *socket) detach() (fd int, err error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("take descriptor: %w", err)
	}
	if cerr := raw.Control(func(f uintptr) { fd, err = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return -1, fmt.Errorf("take descriptor: %w", err)
	}
	_ = s.Close()
	return fd, nil
}

// handshake proves both ends by crypto/tls, and takes the connection over: its keys and its descriptor. If
// it fails, s is still the caller's to close. cfg is for this handshake only.
func (e *Engine) handshake(ctx context.Context, s *socket, cfg *tls.Config, client bool) (*carrier, error) {
	deepen()
	talk, err := newTalk(s, e.budget)
	if err != nil {
		return nil, err
	}
	defer talk.end()
	secrets := &record.Secrets{}
	defer secrets.Wipe()
	cfg.KeyLogWriter = secrets
	below := record.NewBoundary(talk)
	tc := tls.Server(below, cfg)
	if client {
		tc = tls.Client(below, cfg)
	}
	err = tc.HandshakeContext(ctx)
	stop := context.AfterFunc(ctx, talk.hurry) // crypto/tls does not look after the time any more
	defer stop()
	if err != nil {
		_ = talk.push(0) // the alert
		return nil, err
	}
	state := tc.ConnectionState()
	if state.NegotiatedProtocol != "h2" {
		return nil, fmt.Errorf("negotiated protocol is %q", state.NegotiatedProtocol)
	}
	in, out, err := record.Take(tc, secrets, client)
	if err != nil {
		return nil, err
	}
	if cfg.ClientSessionCache != nil {
		if err := in.Resume(tc); err != nil {
			return nil, err
		}
	}
	ahead := talk.rest()
	talk.leave() // the peer may take its time to read
	if err := talk.push(unix.MSG_MORE); err != nil {
		return nil, err
	}
	fd, err := s.detach()
	if err != nil {
		return nil, err
	}
	e.opts.Handshake(client, state.DidResume)
	c := &carrier{fd: fd, in: in, out: out, ahead: ahead}
	c.peer.Chain = state.PeerCertificates
	return c, nil
}

// deepen has the stack of a new goroutine grow to what a handshake needs in one step. Else it grows, and is
// copied, four times in the midst of one.
//
//go:noinline
func deepen() byte {
	var room [18 << 10]byte
	return room[time.Now().Nanosecond()%len(room)]
}
