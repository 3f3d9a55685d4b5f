package loop

import "golang.org/x/sys/unix"

const (
	chunkSize  = 32<<10 - 16
	keepChunks = 64 // free ones of a worker: 2 MB
)

// chunk is a piece of what waits.
type chunk struct {
	next *chunk
	r, w int32
	b    [chunkSize]byte
}

// chunks are bytes in line. The zero value is empty.
type chunks struct {
	head, tail *chunk
	n          int
}

// chunkPool lends chunks. It is one worker's.
type chunkPool struct {
	free  *chunk
	count int
}

func (p *chunkPool) get() *chunk {
	c := p.free
	if c == nil {
		return &chunk{}
	}
	p.free, p.count = c.next, p.count-1
	c.next, c.r, c.w = nil, 0, 0
	return c
}

func (p *chunkPool) put(c *chunk) {
	if p.count < keepChunks {
		c.next, p.free = p.free, c
		p.count++
	}
}

// slim lets go of what is free.
func (p *chunkPool) slim() { p.free, p.count = nil, 0 }

// push copies b to the end.
func (p *chunkPool) push(q *chunks, b []byte) {
	q.n += len(b)
	for len(b) > 0 {
		if q.tail == nil || q.tail.w == chunkSize {
			c := p.get()
			if q.tail == nil {
				q.head = c
			} else {
				q.tail.next = c
			}
			q.tail = c
		}
		m := copy(q.tail.b[q.tail.w:], b)
		q.tail.w += int32(m)
		b = b[m:]
	}
}

// consume takes n bytes off the front.
func (p *chunkPool) consume(q *chunks, n int) {
	q.n -= n
	for n > 0 || q.head != nil && q.head.r == q.head.w {
		c := q.head
		m := min(n, int(c.w-c.r))
		c.r += int32(m)
		n -= m
		if c.r < c.w {
			return
		}
		if q.head = c.next; q.head == nil {
			q.tail = nil
		}
		p.put(c)
	}
}

func (p *chunkPool) drop(q *chunks) { p.consume(q, q.n) }

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
