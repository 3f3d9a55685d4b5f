package record

// Buffer sizes in bytes. A small buffer holds one full record and what may
// follow it; a large one 17 full records, for bulk.
const (
	SmallBuffer = 18 << 10
	LargeBuffer = 288 << 10
)

// What a Pool keeps: 64 small and 16 large buffers are 5.8 MB.
const (
	keepSmall = 64
	keepLarge = 16
)

// Pool lends buffers to the Writers of one event loop, so that an idle
// connection holds none. The zero value is ready. It is not for concurrent use.
// A nil Pool allocates and keeps nothing.
type Pool struct {
	small, large [][]byte
}

// Get lends a buffer of at least n bytes, with what it last held still in it.
func (p *Pool) Get(n int) []byte {
	switch {
	case n <= SmallBuffer:
		return p.pick(n, SmallBuffer)
	case n <= LargeBuffer:
		return p.pick(n, LargeBuffer)
	}
	return make([]byte, (n+LargeBuffer-1)/LargeBuffer*LargeBuffer)
}

func (p *Pool) pick(n, size int) []byte {
	if p == nil {
		return make([]byte, size)
	}
	free := &p.small
	if n > SmallBuffer {
		free = &p.large
	}
	if k := len(*free); k > 0 {
		b := (*free)[k-1]
		(*free)[k-1] = nil
		*free = (*free)[:k-1]
		return b
	}
	return make([]byte, size)
}

// Trim gives back all that the Pool keeps but one small buffer, so that what is rare still finds one.
func (p *Pool) Trim() {
	clear(p.small[min(1, len(p.small)):])
	p.small, p.large = p.small[:min(1, len(p.small))], nil
}

// Put takes a buffer back. One of another size, and one too many, is left to the
// garbage collector.
func (p *Pool) Put(b []byte) {
	if p == nil {
		return
	}
	switch {
	case len(b) == SmallBuffer && len(p.small) < keepSmall:
		p.small = append(p.small, b)
	case len(b) == LargeBuffer && len(p.large) < keepLarge:
		p.large = append(p.large, b)
	}
}
