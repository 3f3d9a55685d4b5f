package mux

import "github.com/ambitmesh/ambit/internal/hbone/h2"

// Quantum is the most that a stream sends in one turn, in bytes: four full records.
const Quantum = 4 * h2.MaxData

// turns says whose turn it is to send. Streams that have just begun to want go first, once: so a
// message does not wait behind bulk. Then they stand in line with the others even while they want
// nothing, so that many of them do not hold up bulk for ever. This is FQ-CoDel's scheme (RFC 8290 4.2).
type turns struct {
	sendWin    int64 // what the peer lets us send on the connection
	fresh, old ring
	turn       *Stream   // who had the last turn
	starved    []*Stream // who waits for sendWin
}

// place is where in turns a stream stands.
type place uint8

const (
	nowhere place = iota
	inFresh
	inOld
	onTurn      // came from old
	onFreshTurn // came from fresh
)

// Want says that the stream has something to send: its turn will come. One that has its turn now gets
// another.
func (s *Stream) Want() {
	if !s.open() {
		return
	}
	if s.wants = true; s.place == nowhere {
		s.place = inFresh
		s.c.fresh.push(s)
	}
}

// Turn returns the stream that is to send next and how many bytes at most, or nil if none may. The
// stream is out of line then, until it Wants again.
func (c *Conn) Turn() (s *Stream, most int) {
	c.settle()
	c.endTurn()
	for c.err == nil && c.sendWin > 0 {
		if s = c.nextInLine(); s == nil {
			break
		}
		if s.wants {
			s.wants = false
			if most = min(s.Sendable(), Quantum); most > 0 {
				c.turn = s
				return s, most
			}
		}
		s.place = nowhere
	}
	return nil, 0
}

func (c *Conn) nextInLine() *Stream {
	if s := c.fresh.pop(); s != nil {
		s.place = onFreshTurn
		return s
	}
	s := c.old.pop()
	if s != nil {
		s.place = onTurn
	}
	return s
}

// endTurn puts whoever had the last turn back in line.
func (c *Conn) endTurn() {
	s := c.turn
	if s == nil {
		return
	}
	c.turn = nil
	if s.wants || s.place == onFreshTurn && c.old.head != nil {
		s.place = inOld
		c.old.push(s)
		return
	}
	s.place = nowhere
}

// ring is a queue of streams, linked through them.
type ring struct{ head, tail *Stream }

func (r *ring) push(s *Stream) {
	s.next = nil
	if r.tail == nil {
		r.head = s
	} else {
		r.tail.next = s
	}
	r.tail = s
}

func (r *ring) pop() *Stream {
	s := r.head
	if s == nil {
		return nil
	}
	if r.head = s.next; r.head == nil {
		r.tail = nil
	}
	s.next = nil
	return s
}
