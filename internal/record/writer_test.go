package record

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"testing"
)

// ends are a Writer and the Reader of the other side.
func ends(t testing.TB, id uint16) (*Writer, *Reader) {
	t.Helper()
	s := logged(t, id)
	_, w := mustNew(t, s(), id, true)
	r, _ := mustNew(t, s(), id, false)
	return w, r
}

// Texts of many sizes, sent in pieces of many sizes, arrive in order.
func TestWriterSizes(t *testing.T) {
	for _, id := range allSuites {
		w, r := ends(t, id)
		w.Lend(&Pool{})
		var want, wire bytes.Buffer
		for i, n := range []int{1, 100, 1000, MaxText - 1, MaxText, MaxText + 1, 3 * MaxText, 7, LargeBuffer, 2*LargeBuffer + 3} {
			p := make([]byte, n)
			_, _ = rand.Read(p)
			want.Write(p)
			write(w, p)
			for range i % 3 { // sometimes not sent, sometimes only a part
				w.Seal()
				some := w.Pending()[:len(w.Pending())/2]
				wire.Write(some)
				w.Sent(len(some))
			}
		}
		wire.Write(drain(w))
		got, _, err := open(r, wire.Bytes())
		if err != nil || got != want.String() {
			t.Fatalf("%#x: %d of %d bytes, error %v", id, len(got), want.Len(), err)
		}
	}
}

// Space keeps to the open record while it is large enough, and gives what it was
// asked for.
func TestSpace(t *testing.T) {
	w, r := ends(t, allSuites[0])
	for _, need := range []int{1, 10, MaxText, 9, 4096} {
		if n := len(w.Space(need)); n < need || n > MaxText {
			t.Fatalf("asked for %d, got %d", need, n)
		}
		w.Advance(copy(w.Space(need), "0123456789"[:min(need, 10)]))
	}
	records := 0
	if _, err := r.Open(drain(w), func([]byte) error { records++; return nil }); err != nil || records != 2 {
		t.Fatalf("%d records, error %v", records, err)
	}
	if w.Seal(); len(w.Pending()) != 0 || w.Buffered() != 0 {
		t.Fatal("an empty record was sealed")
	}
}

// head is a Header with a mark to look for.
type head struct{ ends bool }

func (h *head) PutHeader(b []byte, n int, end bool) {
	copy(b, []byte{'#', byte(n >> 16), byte(n >> 8), byte(n), '#'})
	h.ends = h.ends || end
}

func TestSlots(t *testing.T) {
	for _, fill := range []int{0, 1, 100, MaxText - 5, MaxText - 4, 2 * (MaxText - 5), 3*(MaxText-5) + 17} {
		w, r := ends(t, allSuites[0])
		write(w, []byte("before"))
		slots := w.Slots(nil, 4, 5)
		want := make([]byte, fill)
		_, _ = rand.Read(want)
		for i, rest := 0, want; len(rest) > 0; i++ {
			if len(slots[i]) != MaxText-5 {
				t.Fatalf("slot of %d bytes", len(slots[i]))
			}
			rest = rest[copy(slots[i], rest):]
		}
		w.Filled(fill, 5, &head{})
		write(w, []byte("after"))
		got, _, err := open(r, drain(w))
		if err != nil {
			t.Fatal(err)
		}
		if got[:6] != "before" || got[len(got)-5:] != "after" {
			t.Fatalf("%d: text around the slots is gone", fill)
		}
		if data := unframe(t, []byte(got[6:len(got)-5])); !bytes.Equal(data, want) {
			t.Fatalf("%d: data differs", fill)
		}
	}
}

func unframe(t *testing.T, b []byte) []byte {
	t.Helper()
	var data []byte
	for len(b) > 0 {
		n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if b[0] != '#' || b[4] != '#' || len(b) < 5+n {
			t.Fatalf("no header in %x", b[:5])
		}
		data = append(data, b[5:5+n]...)
		b = b[5+n:]
	}
	return data
}

// A buffer is held only while something is in it, and the pool gets it back.
func TestRelease(t *testing.T) {
	w, _ := ends(t, allSuites[0])
	p := &Pool{}
	w.Lend(p)
	write(w, []byte("x"))
	w.Release()
	if w.buf == nil {
		t.Fatal("buffer released with an open record")
	}
	w.Seal()
	w.Sent(3)
	w.Release()
	if w.buf == nil {
		t.Fatal("buffer released with bytes to send")
	}
	w.Sent(len(w.Pending()))
	w.Release()
	if w.buf != nil || len(p.small) != 1 {
		t.Fatal("buffer is not back in the pool")
	}
	if _ = w.Slots(nil, 4, 9); len(p.small) != 0 && len(w.buf) != LargeBuffer {
		t.Fatal("want a large buffer for slots")
	}
	w.Release()
	if len(p.large) != 1 {
		t.Fatal("large buffer is not back in the pool")
	}
	write(w, make([]byte, MaxText))
	w.Wipe()
	if w.buf != nil || len(p.small) == 0 {
		t.Fatal("Wipe keeps a buffer")
	}
}

// After an end of our direction nothing more is sealed, and nothing breaks.
func TestWriterAfterEnd(t *testing.T) {
	w, r := ends(t, allSuites[0])
	write(w, []byte("last"))
	w.CloseNotify()
	write(w, []byte("dropped"))
	w.Update(true)
	w.CloseNotify()
	w.Alert(AlertInternalError)
	w.Filled(3, 5, &head{})
	got, _, err := open(r, drain(w))
	if got != "last" || !errors.Is(err, io.EOF) || w.Err() != nil {
		t.Fatalf("got %q, %v, Err %v", got, err, w.Err())
	}
	if w.aead != nil || w.secret != (secret{}) {
		t.Fatal("keys are still there")
	}
}

func TestPool(t *testing.T) {
	p := &Pool{}
	for range 100 {
		p.Put(make([]byte, SmallBuffer))
		p.Put(make([]byte, LargeBuffer))
		p.Put(make([]byte, 5))
	}
	if len(p.small) != keepSmall || len(p.large) != keepLarge {
		t.Fatalf("keeps %d and %d", len(p.small), len(p.large))
	}
	for _, n := range []int{1, SmallBuffer, SmallBuffer + 1, LargeBuffer, LargeBuffer + 1, 5 * LargeBuffer} {
		if b := p.Get(n); len(b) < n {
			t.Fatalf("asked for %d, got %d", n, len(b))
		}
	}
}
