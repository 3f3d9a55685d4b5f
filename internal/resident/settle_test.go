package resident

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestWasteful(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		h    heap
		want bool
	}{
		"after a burst":           {heap{free: 20 * mib, objects: 10 * mib, live: 9 * mib}, true},
		"garbage of a burst":      {heap{objects: 30 * mib, live: 10 * mib, used: 101 * mib, before: 100 * mib}, true},
		"busy":                    {heap{free: 20 * mib, objects: 10 * mib, live: 9 * mib, used: 130 * mib, before: 100 * mib}, false},
		"small":                   {heap{free: 1 * mib, objects: 2 * mib, live: 2 * mib}, false},
		"little of much":          {heap{free: 5 * mib, objects: 100 * mib, live: 100 * mib}, false},
		"live grew since marking": {heap{objects: 10 * mib, live: 12 * mib}, false},
	} {
		if got := c.h.wasteful(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLook sees a burst that is over, and that it was given back. What is collected when is the test's: what a
// collection marked counts as used until the next.
func TestLook(t *testing.T) {
	percent := debug.SetGCPercent(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	debug.FreeOSMemory() // what other tests left
	var h heap
	h.look()
	burst := make([][]byte, 64)
	fill := func() {
		for i := range burst {
			burst[i] = make([]byte, 1<<20)
		}
	}
	fill()
	runtime.GC()
	if h.look().wasteful() {
		t.Error("a burst that is under way is to be kept")
	}
	fill()
	runtime.KeepAlive(burst)
	h.look()
	if !h.look().wasteful() {
		t.Errorf("64 MiB that nobody uses are kept: %+v", h)
	}
	debug.FreeOSMemory()
	if h.look(); h.free > 16<<20 {
		t.Errorf("what was given back counts again: %+v", h)
	}
}
