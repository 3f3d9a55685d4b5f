package hbone

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

// errNotAnswered says that a server's stream was written to before Respond.
var errNotAnswered = errors.New("tunnel is not answered yet")

// Write sends p. It returns when the last byte is on its way in a write of the connection, so it goes
// at the pace that the peer's windows and the connection allow.
func (s *Stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if err := s.writable(); err != nil {
		return 0, err
	}
	s.out, s.sent = p, 0
	s.push()
	for s.sent < len(p) {
		if err := s.writable(); err != nil {
			s.out = nil
			return s.sent, err
		}
		s.canWrite.Wait()
	}
	return len(p), nil
}

// push has the stream's data written: by this goroutine if nobody writes and no deadline forbids to
// block in the connection, else by the flusher. mu is held.
func (s *Stream) push() {
	c := s.c
	if !s.sendable() {
		return
	}
	c.ready.push(s)
	if !c.writing && !s.writeBy.armed {
		c.flushInline()
		return
	}
	c.wake()
}

// writable says why nothing can be written now. mu is held.
func (s *Stream) writable() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.err != nil:
		return s.err
	case s.endOut || s.ended:
		return fmt.Errorf("write to tunnel: our side has ended: %w", net.ErrClosed)
	case s.c.server && !s.answered:
		return errNotAnswered
	}
	return s.writeBy.exceeded()
}

// CloseWrite ends our side after what was written: the peer reads EOF.
func (s *Stream) CloseWrite() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	switch {
	case s.endOut || s.ended:
		return nil
	case s.closed:
		return net.ErrClosed
	case s.err != nil:
		return s.err
	case s.c.server && !s.answered:
		return errNotAnswered
	}
	s.endOut = true
	s.enqueue()
	return nil
}

// pump is the size of one read of ReadFrom.
const pump = 32 * kib

var pumps = sync.Pool{New: func() any { return new([pump]byte) }}

// ReadFrom sends what r has until its end, which it does not pass on: CloseWrite does. While a socket
// has nothing to read, no buffer is held for it.
func (s *Stream) ReadFrom(r io.Reader) (total int64, err error) {
	read := plainRead(r)
	if sock, ok := r.(interface {
		net.Conn
		syscall.Conn
	}); ok {
		if raw, err := sock.SyscallConn(); err == nil {
			read = rawRead(raw)
		}
	}
	for {
		buf, n, rerr := read()
		if n > 0 {
			m, werr := s.Write(buf[:n])
			total += int64(m)
			rerr = firstError(werr, rerr)
		}
		if buf != nil {
			pumps.Put(buf)
		}
		if rerr == io.EOF {
			return total, nil
		}
		if rerr != nil {
			return total, rerr
		}
	}
}

func plainRead(r io.Reader) func() (*[pump]byte, int, error) {
	return func() (*[pump]byte, int, error) {
		buf, _ := pumps.Get().(*[pump]byte)
		n, err := r.Read(buf[:])
		return buf, n, err
	}
}

// rawRead waits in the netpoller and takes a buffer only for a read that has data.
func rawRead(raw syscall.RawConn) func() (*[pump]byte, int, error) {
	return func() (buf *[pump]byte, n int, err error) {
		waitErr := raw.Read(func(fd uintptr) bool {
			buf, _ = pumps.Get().(*[pump]byte)
			n, err = readFD(int(fd), buf[:])
			if err == syscall.EAGAIN {
				pumps.Put(buf)
				buf = nil
				return false
			}
			return true
		})
		switch {
		case waitErr != nil:
			return buf, 0, fmt.Errorf("read from socket: %w", waitErr)
		case err != nil:
			return buf, 0, fmt.Errorf("read from socket: %w", err)
		case n == 0:
			return buf, 0, io.EOF
		}
		return buf, n, nil
	}
}

func readFD(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
