package hbone

import (
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// Stream is one tunnel: a net.Conn with half-close. One goroutine may read while another writes, and
// any may close, reset or set deadlines. Its user must Close it, whatever became of it.
//
// A server's stream carries data after Respond. A client's stream may be written to at once; its
// answer is to be had from WaitResponse.
type Stream struct {
	c   *conn
	id  uint32
	req *Request

	reading, writing sync.Mutex // one reader, one writer at a time; taken before c.mu

	// What follows is guarded by c.mu.
	answered bool // the response was sent or received
	status   int
	header   []hpack.HeaderField

	in        queue
	flow      h2.Flow // of what is received
	remoteEnd bool    // the peer has ended its side
	canRead   sync.Cond

	out      []byte // what the writer waits to have sent
	sent     int    // how much of it was
	sendWin  int64
	endOut   bool // to end our side after out
	ended    bool // END_STREAM was sent
	cutAfter bool // to reset the stream after that
	canWrite sync.Cond
	queued   bool
	next     *Stream

	err    error // reset, or connection lost
	gone   bool  // off the wire
	closed bool  // by its user

	readBy, writeBy deadline
}

func (c *conn) newStream(id uint32, req *Request) *Stream {
	s := &Stream{c: c, id: id, req: req, flow: c.inflow.Stream(), sendWin: c.peer.Window}
	s.canRead.L, s.canWrite.L = &c.mu, &c.mu
	c.streams[id] = s
	return s
}

// Request returns what opened the tunnel. It is not to be changed.
func (s *Stream) Request() *Request { return s.req }

// ID returns the HTTP/2 stream identifier.
func (s *Stream) ID() uint32 { return s.id }

// LocalAddr returns the connection's local address.
func (s *Stream) LocalAddr() net.Addr { return s.c.nc.LocalAddr() }

// RemoteAddr returns the connection's remote address.
func (s *Stream) RemoteAddr() net.Addr { return s.c.nc.RemoteAddr() }

// Close ends the tunnel both ways. The peer reads what was written, then EOF; what it still sends is
// thrown away and answered by a reset.
func (s *Stream) Close() error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.gone {
		c.held--
	}
	s.discard()
	s.readBy.stop()
	s.writeBy.stop()
	s.cut()
	s.wakeAll()
	return nil
}

// cut ends both sides on the wire, as far as they have not ended. mu is held.
func (s *Stream) cut() {
	switch {
	case s.gone || s.c.err != nil:
	case !s.answered, len(s.out) > 0:
		s.reset(http2.ErrCodeCancel)
	case s.ended:
		s.reset(s.cutCode())
	default:
		s.cutAfter = true
		s.endOut = true
		s.enqueue()
	}
}

// cutCode is CANCEL, or NO_ERROR where our answer was complete (RFC 9113 8.1).
func (s *Stream) cutCode() http2.ErrCode {
	if s.c.server && s.status >= 300 {
		return http2.ErrCodeNo
	}
	return http2.ErrCodeCancel
}

// Reset breaks the tunnel off. The peer sees a reset, not an end.
func (s *Stream) Reset(code http2.ErrCode) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.err == nil {
		s.err = net.ErrClosed
	}
	s.reset(code)
	s.discard()
	s.wakeAll()
}

// reset sends RST_STREAM and takes the stream off the wire. mu is held.
func (s *Stream) reset(code http2.ErrCode) {
	if s.gone || s.c.err != nil {
		return
	}
	s.out, s.endOut = nil, false
	s.c.ctrl = h2.AppendReset(s.c.ctrl, s.id, code)
	s.c.drop(s)
	s.c.wake()
}

// fail marks the stream broken for its user and takes it off the wire. mu is held.
func (s *Stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.out, s.endOut = nil, false
	s.c.drop(s)
	s.wakeAll()
}

// discard throws away what was received and not read. mu is held.
func (s *Stream) discard() {
	s.c.inflow.Discard(&s.flow)
	s.in.clear()
	s.c.creditConn()
}

// remoteEnded notes the peer's END_STREAM. mu is held.
func (s *Stream) remoteEnded() {
	s.remoteEnd = true
	if s.ended {
		s.c.drop(s)
	}
	s.canRead.Broadcast()
}

// localEnded notes that our END_STREAM is in out, and appends a reset if the stream is to be cut.
func (s *Stream) localEnded(out []byte) []byte {
	s.ended, s.endOut = true, false
	if !s.remoteEnd && !s.cutAfter {
		return out
	}
	if !s.remoteEnd {
		out = h2.AppendReset(out, s.id, s.cutCode())
	}
	s.c.drop(s)
	return out
}

func (s *Stream) sendable() bool {
	if s.gone {
		return false
	}
	return len(s.out) > 0 && s.sendWin > 0 || s.endOut && len(s.out) == 0
}

// enqueue puts the stream in line for sending. mu is held.
func (s *Stream) enqueue() {
	if s.c.err == nil && s.sendable() {
		s.c.ready.push(s)
		s.c.wake()
	}
}

func (s *Stream) wakeAll() {
	s.canRead.Broadcast()
	s.canWrite.Broadcast()
}

// SetDeadline sets both deadlines. A deadline in the past ends calls that wait.
func (s *Stream) SetDeadline(t time.Time) error {
	return firstError(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline bounds Read, WriteTo and WaitResponse; the zero time lifts the bound.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadline(&s.readBy, &s.canRead, t) }

// SetWriteDeadline bounds Write; the zero time lifts the bound.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(&s.writeBy, &s.canWrite, t)
}

func (s *Stream) setDeadline(d *deadline, cond *sync.Cond, t time.Time) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	d.set(t, cond)
	return nil
}

// deadline is a point in time that wakes those who wait on a Cond. Guarded by the Cond's lock.
type deadline struct {
	timer *time.Timer
	armed bool
	past  bool
}

func (d *deadline) set(t time.Time, cond *sync.Cond) {
	d.stop()
	d.armed, d.past = !t.IsZero(), false
	if !d.armed {
		return
	}
	wait := time.Until(t)
	if d.past = wait <= 0; d.past {
		cond.Broadcast()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		cond.L.Lock()
		defer cond.L.Unlock()
		if d.timer == timer {
			d.past = true
			cond.Broadcast()
		}
	})
	d.timer = timer
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// exceeded returns the error for a deadline that has passed.
func (d *deadline) exceeded() error {
	if d.past {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
