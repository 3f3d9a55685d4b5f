package mux

import (
	"bytes"
	"testing"

	"github.com/ambitmesh/ambit/internal/hbone"
)

func TestEcho(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	s.ev.got = func(st *Stream, p []byte) {
		if n := st.Write(p); n != len(p) {
			t.Errorf("echoed %d of %d bytes", n, len(p))
		}
	}
	s.ev.ended = func(st *Stream) { st.End() }
	st, _ := dial(t, c, s)
	var want []byte
	for _, n := range []int{1, 5, 16375, 16384, 60000} {
		p := bytes.Repeat([]byte{byte(n)}, n)
		want = append(want, p...)
		if sent := st.Write(p); sent != n {
			t.Fatalf("sent %d of %d bytes", sent, n)
		}
		exchange(t, c, s)
	}
	st.End()
	exchange(t, c, s)
	if !bytes.Equal(c.ev.data[1], want) {
		t.Errorf("got %d bytes, want %d", len(c.ev.data[1]), len(want))
	}
	if !st.Gone() || c.NumStreams() != 0 || s.NumStreams() != 0 {
		t.Errorf("streams are left: %d, %d\n%v", c.NumStreams(), s.NumStreams(), c.ev)
	}
}
