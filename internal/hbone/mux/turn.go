package mux

import "github.com/ambitmesh/ambit/internal/hbone/h2"

// Quantum is the most that a stream sends in one turn, in bytes: four full records.
const Quantum = 4 * h2.MaxData

// turns says whose turn it is to send. Bulk, which is what still has something after its turn, takes
// turns in line. What else begins to want goes before it, so a message waits for one turn at most; but
// after a Quantum of such messages bulk has a turn, so they do not hold it up for ever.
type turns struct {
	sendWin int64 // what the peer lets us send on the connection
	moved   int64 // DATA sent, in bytes

	fresh, bulk ring
	turn        *Stream   // who had the last turn
	began       int64     // moved at its begin
	overtook    int64     // bytes of fresh turns since the last of bulk
	starved     []*Stream // who waits for sendWin
}

// place is where in turns a stream stands.
type place uint8

const (
	nowhere place = iota
	inFresh
	inBulk
	onFreshTurn
	onBulkTurn
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

// Turn ends the last turn and returns the stream that is to send next and how many bytes at most, or
// nil if none may. The stream is out of line then, until it Wants again.
func (c *Conn) Turn() (s *Stream, most int) {
	c.settle()
	c.endTurn()
	for c.err == nil && c.sendWin > 0 {
		if s = c.nextInLine(); s == nil {
			break
		}
		s.wants = false
		if most = min(s.Sendable(), Quantum); most > 0 {
			c.turn, c.began = s, c.moved
			return s, most
		}
		s.place = nowhere
	}
	return nil, 0
}

func (c *Conn) nextInLine() *Stream {
	if c.bulk.head == nil || c.fresh.head != nil && c.overtook < Quantum {
		s := c.fresh.pop()
		if s != nil {
			s.place = onFreshTurn
		}
		return s
	}
	c.overtook = 0
	s := c.bulk.pop()
	s.place = onBulkTurn
	return s
}

// endTurn puts whoever had the last turn back in line, if it still wants.
func (c *Conn) endTurn() {
	s := c.turn
	if s == nil {
		return
	}
	c.turn = nil
	if s.place == onFreshTurn {
		c.overtook += c.moved - c.began
	}
	if s.place = nowhere; s.wants {
		s.place = inBulk
		c.bulk.push(s)
	}
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
