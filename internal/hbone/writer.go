package hbone

import (
	"bytes"
	"runtime"
	"sync"

	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

const (
	batchSize  = 64 * kib // bytes gathered into one write
	frameFloor = 1 * kib  // a batch is full when less than this is left
)

// writer holds what waits to be sent. Control frames are encoded at once and go first, in order;
// DATA stays with the streams' writers, which take turns of one frame.
type writer struct {
	ctrl    []byte
	ready   ring // streams with something to send
	enc     *hpack.Encoder
	block   bytes.Buffer
	sendWin int64  // what the peer lets us send on the connection
	writing bool   // somebody writes to nc now
	batches uint64 // writes to nc that have ended
	onShut  func() // set from the connection's end until nc is closed
}

var batches = sync.Pool{New: func() any { return new([batchSize]byte) }}

// wake has someone write what waits. mu is held.
func (c *conn) wake() {
	if !c.writing {
		c.writing = true
		go c.flush()
	}
}

// flush writes batches until nothing waits, then ends. It closes nc when the connection has ended.
func (c *conn) flush() {
	runtime.Gosched() // the streams that can run now put their frames into the same write
	c.mu.Lock()
	for c.writeBatch() {
	}
	c.writing = false
	shut := c.err != nil && c.onShut != nil
	stop := c.onShut
	if shut {
		c.onShut = nil
	}
	c.mu.Unlock()
	if shut {
		_ = c.nc.Close()
		stop()
		close(c.shut)
	}
}

// flushInline writes one batch on the caller's goroutine and leaves the rest to a flusher. mu is held.
func (c *conn) flushInline() {
	c.writing = true
	if c.writeBatch() || c.err != nil {
		go c.flush()
		return
	}
	c.writing = false
}

// writeBatch writes what waits, up to a batch, and reports whether there may be more.
// mu is held, but not during the write; writing is set.
func (c *conn) writeBatch() (more bool) {
	buf, _ := batches.Get().(*[batchSize]byte)
	out := c.fill(buf[:0])
	if len(out) == 0 {
		batches.Put(buf)
		return false
	}
	c.mu.Unlock()
	_, err := c.nc.Write(out)
	batches.Put(buf)
	c.mu.Lock()
	c.batches++
	if err != nil {
		c.ctrl, c.ready = nil, ring{}
		c.end(h2.Lost(err), nil)
		return false
	}
	return len(c.ctrl) > 0 || c.ready.n > 0
}

// fill gathers control frames, then a DATA frame of each ready stream in turn. mu is held.
func (c *conn) fill(out []byte) []byte {
	out = append(out, c.ctrl...)
	c.meters.Replied()
	if c.ctrl = c.ctrl[:0]; cap(c.ctrl) > 4*kib {
		c.ctrl = nil
	}
	for idle := 0; idle < c.ready.n; {
		room := batchSize - len(out) - h2.FrameHeader
		if room < frameFloor {
			break
		}
		s := c.ready.pop()
		before := len(out)
		out = c.emit(out, s, room)
		if s.sendable() {
			c.ready.push(s)
		}
		if idle++; len(out) > before {
			idle = 0
		}
	}
	return out
}

// emit appends one DATA frame of s, and what ends the stream if this was its last. mu is held.
func (c *conn) emit(out []byte, s *Stream, room int) []byte {
	n := min(len(s.out), h2.MaxData, c.peer.MaxFrame, room, int(max(min(s.sendWin, c.sendWin), 0)))
	last := s.endOut && n == len(s.out)
	if n == 0 && !last {
		return out
	}
	out = h2.AppendDataHeader(out, s.id, n, last)
	out = append(out, s.out[:n]...)
	s.out = s.out[n:]
	s.sent += n
	s.sendWin -= int64(n)
	c.sendWin -= int64(n)
	c.meters.SentData()
	if len(s.out) == 0 && n > 0 {
		s.out = nil // the writer's again
		s.canWrite.Broadcast()
	}
	if last {
		out = s.localEnded(out)
	}
	return out
}

// ring is the queue of streams that have something to send, linked through them.
type ring struct {
	head, tail *Stream
	n          int
}

func (r *ring) push(s *Stream) {
	if s.queued {
		return
	}
	s.queued, s.next = true, nil
	if r.tail == nil {
		r.head = s
	} else {
		r.tail.next = s
	}
	r.tail = s
	r.n++
}

func (r *ring) pop() *Stream {
	s := r.head
	if r.head = s.next; r.head == nil {
		r.tail = nil
	}
	s.queued, s.next = false, nil
	r.n--
	return s
}
