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
			b := make([]byte, rnd.IntN(2*chunkSize))
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
		if q.n != len(want) || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes in line, want %d", q.n, len(want))
		}
		if q.n == 0 && (q.head != nil || q.tail != nil) {
			t.Fatal("empty, but holds a chunk")
		}
	}
	p.drop(&q)
	if q.n != 0 || q.head != nil || p.count > keepChunks {
		t.Errorf("after drop %d bytes, %d free chunks", q.n, p.count)
	}
	p.slim()
	if p.free != nil || p.count != 0 {
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
