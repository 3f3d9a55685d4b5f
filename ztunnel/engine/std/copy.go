package std

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// counter counts what it passes on, and calls first before the first piece of it.
type counter struct {
	io.Writer
	n     *atomic.Uint64
	first func()
}

func (c *counter) Write(p []byte) (int, error) {
	if c.first != nil {
		c.first()
		c.first = nil
	}
	n, err := c.Writer.Write(p)
	c.n.Add(uint64(n))
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// writeError says that it was the receiving side that broke.
type writeError struct{ err error }

func (e *writeError) Error() string { return "write: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

const (
	pieceSize  = 32 << 10
	spliceSize = 1 << 20
)

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// copyTo copies by read and write, with a buffer only while there is data. A read that fills the buffer
// is the sign of bulk: then the kernel moves up to spliceSize by itself. So a live connection's counters
// are behind by less than spliceSize, and exact whenever it is quiet after small messages.
func (l *tcpLeg) copyTo(dst leg, w *counter) error {
	w.Writer = dst
	r, err := newReader(l.TCPConn)
	if err != nil {
		return err
	}
	to, _ := dst.(*tcpLeg)
	for {
		n, err := r.pass(w)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n < pieceSize || to == nil:
			continue
		}
		moved, err := to.ReadFrom(&io.LimitedReader{R: l.TCPConn, N: spliceSize})
		w.n.Add(uint64(moved))
		if err != nil || moved < spliceSize {
			return err
		}
	}
}

// reader reads a socket without holding a buffer while it waits.
type reader struct {
	raw  syscall.RawConn
	poll func(fd uintptr) bool // made once: it escapes
	buf  *[pieceSize]byte
	n    int
	err  error
}

func newReader(c *net.TCPConn) (*reader, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("read socket: %w", err)
	}
	r := &reader{raw: raw}
	r.poll = r.try
	return r, nil
}

// try is one non-blocking read; false waits for the socket to be readable.
func (r *reader) try(fd uintptr) bool {
	r.buf, _ = pieces.Get().(*[pieceSize]byte)
	for {
		r.n, r.err = unix.Read(int(fd), r.buf[:])
		if r.err != unix.EINTR {
			break
		}
	}
	if r.err == unix.EAGAIN {
		pieces.Put(r.buf)
		r.buf = nil
		return false
	}
	return true
}

// pass waits for one piece and writes it to w.
func (r *reader) pass(w io.Writer) (int, error) {
	err := r.raw.Read(r.poll)
	if r.buf != nil {
		defer func() { pieces.Put(r.buf); r.buf = nil }()
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("read socket: %w", err)
	case r.err != nil:
		return 0, fmt.Errorf("read socket: %w", r.err)
	case r.n == 0:
		return 0, io.EOF
	}
	return w.Write(r.buf[:r.n])
}
