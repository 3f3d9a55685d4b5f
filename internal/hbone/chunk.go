package hbone

import "sync"

const (
	smallChunk = 2 * kib
	bigChunk   = 16 * kib
	spareFloor = 2 * kib // less room than this at a chunk's end is not filled by part of a frame
)

// chunk is a piece of received data: b[r:w] waits to be read, b[w:] is room.
type chunk struct {
	next *chunk
	b    []byte
	r, w int
	busy bool // the read loop is filling b[w:], without mu
	lent bool // a reader holds b[r:w], without mu
}

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{b: make([]byte, smallChunk)} }}
	bigChunks   = sync.Pool{New: func() any { return &chunk{b: make([]byte, bigChunk)} }}
)

func getChunk(n int) *chunk {
	pool := &bigChunks
	if n <= smallChunk {
		pool = &smallChunks
	}
	ch, _ := pool.Get().(*chunk)
	return ch
}

// put returns the chunk to its pool, unless someone still holds it: then the collector has it.
func (ch *chunk) put() {
	if ch.busy || ch.lent {
		return
	}
	ch.next, ch.r, ch.w = nil, 0, 0
	if len(ch.b) == smallChunk {
		smallChunks.Put(ch)
	} else {
		bigChunks.Put(ch)
	}
}

// queue is a stream's received data, oldest first.
type queue struct{ head, tail *chunk }

// space returns a chunk with room for n bytes or the start of them, marked busy.
func (q *queue) space(n int) *chunk {
	if t := q.tail; t != nil && len(t.b)-t.w >= min(n, spareFloor) {
		t.busy = true
		return t
	}
	ch := getChunk(n)
	if q.tail == nil {
		q.head = ch
	} else {
		q.tail.next = ch
	}
	q.tail = ch
	ch.busy = true
	return ch
}

// front returns the first chunk with data, or nil.
func (q *queue) front() *chunk {
	if q.head == nil || q.head.r == q.head.w {
		return nil
	}
	return q.head
}

// advance marks n bytes of the first chunk read and lets go of it when it is empty.
func (q *queue) advance(n int) {
	ch := q.head
	if ch.r += n; ch.r < ch.w || ch.busy {
		return
	}
	q.trim()
}

// trim drops an empty first chunk.
func (q *queue) trim() {
	ch := q.head
	if ch == nil || ch.r < ch.w || ch.busy || ch.lent {
		return
	}
	if q.head = ch.next; q.head == nil {
		q.tail = nil
	}
	ch.put()
}

// clear lets go of everything.
func (q *queue) clear() {
	for ch := q.head; ch != nil; {
		next := ch.next
		ch.put()
		ch = next
	}
	q.head, q.tail = nil, nil
}
