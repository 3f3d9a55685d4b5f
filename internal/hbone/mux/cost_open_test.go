package mux

import (
	"testing"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// TestOpenCloseAllocations: a tunnel's life is not free as DATA is: there are its streams, its
// request and answer, and header blocks, which http2.Framer and hpack allocate. Both ends count: 27,
// and a few more under the race detector, where hpack's pool of buffers drops some on purpose.
func TestOpenCloseAllocations(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	s.h, c.h = echoing{s.ev}, echoing{c.ev}
	req := &hbone.Request{Authority: "10.0.0.1:80", Forwarded: `for="10.0.0.2:1000"`}
	life := func() {
		st, err := c.Open(req, nil)
		if err != nil {
			t.Fatal(err)
		}
		st.End()
		exchange(t, c, s)
		if !st.Gone() {
			t.Fatal("stream is left")
		}
	}
	for range 100 {
		life()
	}
	n := testing.AllocsPerRun(200, life)
	if n > 32 {
		t.Errorf("%v allocations", n)
	}
}
