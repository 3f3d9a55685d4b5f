package record

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// side is one end without a connection: out is on its way to the other side.
type side struct {
	r        *Reader
	w        *Writer
	out, in  []byte
	put, got bytes.Buffer
}

// turn writes, asks for keys, sends and reads at random.
func (s *side) turn(t *testing.T, rnd *rand.Rand, from *side) {
	t.Helper()
	if rnd.IntN(3) > 0 {
		p := make([]byte, 1+rnd.IntN(2000))
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		s.put.Write(p)
		write(s.w, p)
	}
	if rnd.IntN(200) == 0 {
		s.w.Update(rnd.IntN(2) == 0)
	}
	if rnd.IntN(2) == 0 {
		s.out = append(s.out, drain(s.w)...)
	}
	n := rnd.IntN(len(from.out) + 1)
	s.in = append(s.in, from.out[:n]...)
	from.out = from.out[n:]
	used, err := s.r.Open(s.in, func(p []byte) error { s.got.Write(p); return nil })
	if err != nil {
		t.Fatal(err)
	}
	s.in = s.in[used:]
}

// Both ends change keys, ask for them and answer at the same time, with bytes on
// their way: all text arrives.
func TestStorm(t *testing.T) {
	for seed := range uint64(9) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		id := allSuites[seed%3]
		s := logged(t, id)
		var a, b side
		a.r, a.w = mustNew(t, s(), id, true)
		b.r, b.w = mustNew(t, s(), id, false)
		a.r.suite.records, b.w.suite.records = 300, 400
		for range 2000 {
			a.turn(t, rnd, &b)
			b.turn(t, rnd, &a)
		}
		a.settle(t, &b)
		b.settle(t, &a)
		if !bytes.Equal(a.put.Bytes(), b.got.Bytes()) || !bytes.Equal(b.put.Bytes(), a.got.Bytes()) {
			t.Fatalf("seed %d: text differs", seed)
		}
	}
}

// settle lets s read all that from has sent.
func (s *side) settle(t *testing.T, from *side) {
	t.Helper()
	s.in = append(append(s.in, from.out...), drain(from.w)...)
	from.out = nil
	used, err := s.r.Open(s.in, func(p []byte) error { s.got.Write(p); return nil })
	if err != nil || used != len(s.in) {
		t.Fatalf("used %d of %d, %v", used, len(s.in), err)
	}
}

// The same with crypto/tls as an echo, which answers in the middle of its reads.
func TestStormStd(t *testing.T) {
	p := newPKI(t)
	for _, client := range []bool{true, false} {
		o, peer := pair(t, p.config(), p.config(), client)
		o.w.suite.records, o.r.suite.records = 90, 110
		echo := make(chan error, 1)
		go func() {
			_, err := io.Copy(peer, peer)
			echo <- err
			_ = peer.CloseWrite()
		}()
		rnd := rand.New(rand.NewPCG(2, 3))
		for range 1000 {
			want := make([]byte, 1+rnd.IntN(3000))
			want[0] = byte(rnd.Uint32())
			if rnd.IntN(20) == 0 {
				o.w.Update(rnd.IntN(2) == 0)
			}
			write(o.w, want)
			o.flush()
			if got, err := o.read(len(want)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d of %d bytes, %v", len(got), len(want), err)
			}
		}
		o.w.CloseNotify()
		o.flush()
		if err := <-echo; err != nil {
			t.Fatal(err)
		}
	}
}
