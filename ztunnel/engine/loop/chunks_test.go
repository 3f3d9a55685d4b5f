package loop

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestChunks holds random pushes and consumes against a plain slice.
func TestChunks(t *testing.T) {
	var p chunkPool
	var q chunks
	var want []byte
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		if rnd.IntN(2) == 0 {
			b := make([]byte, rnd.IntN([]int{100, smallChunk + 2, 2 * chunkSize}[rnd.IntN(3)]))
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			p.push(&q, b)
			want = append(want, b...)
		} else {
			n := rnd.IntN(len(want) + 1)
			p.consume(&q, n)
			want = want[n:]
		}
		var got []byte
		for _, v := range q.iovec(make([]unix.Iovec, 0, 1000)) {
			got = append(got, unsafe.Slice(v.Base, v.Len)...)
		}
		if q.size() != len(want) || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes in line, want %d", q.size(), len(want))
		}
		if q.empty() != (len(want) == 0) {
			t.Fatal("empty, but holds a chunk")
		}
	}
	p.drop(&q)
	if !q.empty() || p.large.count > keepChunks || p.small.count > keepChunks {
		t.Errorf("after drop %d bytes, %d and %d free chunks", q.size(), p.small.count, p.large.count)
	}
	p.slim()
	if p != (chunkPool{}) {
		t.Error("chunks are kept")
	}
}

// TestIovecRoom: no more pieces than there is room for.
func TestIovecRoom(t *testing.T) {
	var p chunkPool
	var q chunks
	p.push(&q, make([]byte, 10*chunkSize))
	if n := len(q.iovec(make([]unix.Iovec, 0, 4))); n != 4 {
		t.Errorf("%d pieces", n)
	}
}

// TestFirstChunkIsSmall: a crowd of clients that have said a little costs little, and chunks are of sizes that
// the runtime has.
func TestFirstChunkIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(chunk{}); n != chunkHead {
		t.Errorf("a chunk's head takes %d bytes", n)
	}
	var p chunkPool
	var q chunks
	p.push(&q, []byte("GET / HTTP/1.1"))
	if n := len(q.head.b); n != smallChunk {
		t.Errorf("a chunk of %d bytes for a few", n)
	}
	p.push(&q, make([]byte, smallChunk))
	if n := len(q.head.tail.b); n != chunkSize {
		t.Errorf("a chunk of %d bytes for many", n)
	}
}
