package record

import (
	"crypto/tls"
	"fmt"
	"testing"
)

// stream is many sealed records of n bytes, and the Reader's keys before them.
func stream(t testing.TB, id uint16, n, records int) ([]byte, half, *Reader) {
	t.Helper()
	w, r := ends(t, id)
	var b []byte
	for range records {
		write(w, make([]byte, n))
		w.Seal()
	}
	b = append(b, w.Pending()...)
	return b, r.half, r
}

// Sealing, opening, a re-used buffer and slots allocate nothing.
func TestNoAllocations(t *testing.T) {
	for _, id := range allSuites {
		w, _ := ends(t, id)
		w.Lend(&Pool{})
		h := &head{}
		slots := make([][]byte, 0, 4)
		seal := func() {
			w.Advance(copy(w.Space(100), "a frame"))
			w.Advance(copy(w.Space(100), "another"))
			w.Seal()
			w.Sent(len(w.Pending()))
			w.Release()
			slots = w.Slots(slots[:0], 4, 9)
			w.Filled(3*MaxText, 9, h)
			w.Seal()
			w.Sent(len(w.Pending()))
			w.Release()
		}
		seal()
		if n := testing.AllocsPerRun(100, seal); n != 0 {
			t.Errorf("%s: seal allocates %v times", tls.CipherSuiteName(id), n)
		}
		wire, keys, r := stream(t, id, 1000, 10)
		buf := make([]byte, len(wire))
		got := 0
		text := func(p []byte) error { got += len(p); return nil }
		open := func() {
			copy(buf, wire)
			r.half = keys
			if used, err := r.Open(buf, text); err != nil || used != len(buf) {
				t.Fatalf("used %d, %v", used, err)
			}
		}
		if n := testing.AllocsPerRun(100, open); n != 0 || got != 101*10*1000 {
			t.Errorf("%s: open allocates %v times, %d bytes", tls.CipherSuiteName(id), n, got)
		}
	}
}

func sizes(b *testing.B, run func(b *testing.B, id uint16, n int)) {
	for _, id := range allSuites {
		for _, n := range []int{32, 1024, MaxText} {
			b.Run(fmt.Sprintf("%s/%d", tls.CipherSuiteName(id), n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				run(b, id, n)
			})
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	sizes(b, func(b *testing.B, id uint16, n int) {
		w, _ := ends(b, id)
		w.Lend(&Pool{})
		for b.Loop() {
			w.Space(n)
			w.Advance(n)
			w.Seal()
			w.Sent(len(w.Pending()))
			w.Release()
		}
	})
}

// BenchmarkOpen includes copying the ciphertext in, since Open destroys it.
func BenchmarkOpen(b *testing.B) {
	sizes(b, func(b *testing.B, id uint16, n int) {
		wire, keys, r := stream(b, id, n, 1)
		buf := make([]byte, len(wire))
		text := func([]byte) error { return nil }
		for b.Loop() {
			copy(buf, wire)
			r.half = keys
			if _, err := r.Open(buf, text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSlots is a bulk turn: four records of one read.
func BenchmarkSlots(b *testing.B) {
	w, _ := ends(b, allSuites[0])
	w.Lend(&Pool{})
	h := &head{}
	slots := make([][]byte, 0, 4)
	const n = 4 * (MaxText - 9)
	b.SetBytes(n)
	b.ReportAllocs()
	for b.Loop() {
		slots = w.Slots(slots[:0], 4, 9)
		w.Filled(n, 9, h)
		w.Seal()
		w.Sent(len(w.Pending()))
		w.Release()
	}
}

// BenchmarkTake is what taking a connection over costs beside its handshake.
func BenchmarkTake(b *testing.B) {
	s := logged(b, allSuites[0])
	state := finished(allSuites[0])
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := New(s(), state, true); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKeyUpdate is one key update of the peer's and our answer.
func BenchmarkKeyUpdate(b *testing.B) {
	_, r := ends(b, allSuites[0])
	b.ReportAllocs()
	for b.Loop() {
		r.updates = updateBurst
		if err := r.keyUpdate([]byte{1}, true); err != nil {
			b.Fatal(err)
		}
		r.w.Seal()
		r.w.Sent(len(r.w.Pending()))
		r.w.Release()
	}
}
