package loop

import "golang.org/x/sys/unix"

// A chunk takes 1 or 32 KB of memory. Small is what a client says first; a crowd of those waits together.
const (
	chunkHead  = 56
	smallChunk = 1<<10 - chunkHead
	chunkSize  = 32<<10 - chunkHead
	keepChunks = 64 // free ones of each size that a worker keeps: 2 MB
)

// chunk is a piece of what waits. The first of a line knows about all of it.
type chunk struct {
	next  *chunk
	tail  *chunk // of the first
	total int    // bytes in line; of the first
	r, w  int32
	b     []byte
}

// chunks are bytes in line. The zero value is empty. Every flow has some, nearly always none.
type chunks struct{ head *chunk }

// size is how many bytes are in line.
func (q *chunks) size() int {
	if q.head == nil {
		return 0
	}
	return q.head.total
}

func (q *chunks) empty() bool { return q.head == nil }

// chunkPool lends chunks. It is one worker's.
type chunkPool struct{ small, large chunkStack }

type chunkStack struct {
	free  *chunk
	count int
}

func (s *chunkStack) pop() *chunk {
	c := s.free
	if c == nil {
		return nil
	}
	s.free, s.count = c.next, s.count-1
	*c = chunk{b: c.b}
	return c
}

func (s *chunkStack) push(c *chunk) {
	if s.count < keepChunks {
		c.next, s.free = s.free, c
		s.count++
	}
}

// get lends a chunk that holds n bytes, or a large one.
func (p *chunkPool) get(n int) *chunk {
	if n > smallChunk {
		if c := p.large.pop(); c != nil {
			return c
		}
		c := &struct {
			chunk
			room [chunkSize]byte
		}{}
		c.b = c.room[:]
		return &c.chunk
	}
	if c := p.small.pop(); c != nil {
		return c
	}
	c := &struct {
		chunk
		room [smallChunk]byte
	}{}
	c.b = c.room[:]
	return &c.chunk
}

func (p *chunkPool) put(c *chunk) {
	if len(c.b) == chunkSize {
		p.large.push(c)
		return
	}
	p.small.push(c)
}

// slim lets go of what is free.
func (p *chunkPool) slim() { *p = chunkPool{} }

// push copies b to the end. What does not fit behind a small chunk gets a large one.
func (p *chunkPool) push(q *chunks, b []byte) {
	need := len(b)
	for len(b) > 0 {
		t := q.grow(p, need)
		m := copy(t.b[t.w:], b)
		t.w += int32(m)
		q.head.total += m
		b = b[m:]
		need = chunkSize
	}
}

// grow returns the last chunk, which has room.
func (q *chunks) grow(p *chunkPool, need int) *chunk {
	if q.head == nil {
		q.head = p.get(need)
		q.head.tail = q.head
	}
	t := q.head.tail
	if int(t.w) == len(t.b) {
		t.next = p.get(chunkSize)
		t = t.next
		q.head.tail = t
	}
	return t
}

// consume takes n bytes off the front.
func (p *chunkPool) consume(q *chunks, n int) {
	for n > 0 {
		c := q.head
		m := min(n, int(c.w-c.r))
		c.r += int32(m)
		c.total -= m
		n -= m
		if c.r < c.w {
			return
		}
		if q.head = c.next; q.head != nil {
			q.head.tail, q.head.total = c.tail, c.total
		}
		p.put(c)
	}
}

func (p *chunkPool) drop(q *chunks) { p.consume(q, q.size()) }

// first is the piece at the front.
func (q *chunks) first() []byte { return q.head.b[q.head.r:q.head.w] }

// iovec appends the pieces, as many as there is room for.
func (q *chunks) iovec(to []unix.Iovec) []unix.Iovec {
	for c := q.head; c != nil && len(to) < cap(to); c = c.next {
		v := unix.Iovec{Base: &c.b[c.r]}
		v.SetLen(int(c.w - c.r))
		to = append(to, v)
	}
	return to
}
