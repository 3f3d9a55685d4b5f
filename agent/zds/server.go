package zds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

const (
	maxSessions = 8
	helloTime   = 5 * time.Second
)

// Peer is the process at the other end, as the kernel names it.
type Peer struct {
	PID int
	UID uint32
}

// Handler says who may come and what happens with them. The calls for one session are made in this
// order, each session in a goroutine of its own.
type Handler interface {
	// Admit looks at the peer before anything is read from it.
	Admit(Peer) error
	// Serve runs the session until it ends or ctx does.
	Serve(ctx context.Context, s *Session)
}

// Server accepts proxies on a socket.
type Server struct {
	Log     *slog.Logger
	Handler Handler
	Now     func() time.Time
	Refused func() // counts a refused peer
}

// Listen makes the socket: directory 0700, socket 0600, in place of a dead agent's.
func Listen(path string) (*net.UnixListener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make zds directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("close zds directory to others: %w", err)
	}
	// Made beside and renamed, so that it is never there with other permissions.
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: tmp, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(tmp, 0o600)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("place socket %s: %w", path, err), l.Close())
	}
	return l, nil
}

// Run accepts until ctx ends, then waits for all sessions.
func (s *Server) Run(ctx context.Context, l *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	pace := rate.NewLimiter(5, 5)
	slots := make(chan struct{}, maxSessions)
	for {
		if err := pace.Wait(ctx); err != nil {
			return nil // ctx ended
		}
		c, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept on zds socket: %w", err)
			}
			s.Log.Warn("accept on zds socket", "error", err) // descriptors or memory are short: it may pass
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			s.refuse(c, errors.New("too many sessions"))
			continue
		}
		all.Go(func() {
			defer func() { <-slots }()
			s.serve(ctx, c)
		})
	}
}

func (s *Server) refuse(c *net.UnixConn, err error) {
	s.Refused()
	s.Log.Warn("zds peer refused", "error", errors.Join(err, c.Close()))
}

func (s *Server) serve(ctx context.Context, c *net.UnixConn) {
	peer, err := peerOf(c)
	if err == nil {
		err = s.Handler.Admit(peer)
	}
	if err != nil {
		s.refuse(c, fmt.Errorf("pid %d: %w", peer.PID, err))
		return
	}
	hello, err := readHello(c)
	if err != nil {
		s.refuse(c, fmt.Errorf("pid %d: %w", peer.PID, err))
		return
	}
	ses := &Session{
		Peer: peer, Hello: hello, Since: s.Now(), conn: c,
		answers: make(chan answer, 1), done: make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	var reader sync.WaitGroup
	reader.Go(ses.read)
	s.Handler.Serve(ctx, ses)
	c.Close()
	reader.Wait()
	ses.leave()
}

func readHello(c *net.UnixConn) (Hello, error) {
	if err := c.SetReadDeadline(time.Now().Add(helloTime)); err != nil {
		return Hello{}, err
	}
	b, fds, err := receive(c)
	if err != nil {
		return Hello{}, fmt.Errorf("read hello: %w", err)
	}
	closeFDs(fds)
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return Hello{}, err
	}
	return ParseHello(b)
}

func peerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return Peer{}, fmt.Errorf("credentials of zds peer: %w", err)
	}
	return Peer{PID: int(cred.Pid), UID: cred.Uid}, nil
}
