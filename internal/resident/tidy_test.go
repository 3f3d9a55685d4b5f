package resident

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestUntidy(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		h    heap
		want bool
	}{
		"much since marking": {heap{objects: 12 * mib, live: 10 * mib}, true},
		"little":             {heap{objects: 11 * mib, live: 10*mib + 1}, false},
		"little of much":     {heap{objects: 105 * mib, live: 100 * mib}, false},
		"less than before":   {heap{objects: 5 * mib, live: 10 * mib}, false},
	} {
		if got := c.h.untidy(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTidy(t *testing.T) {
	percent := debug.SetGCPercent(-1) // a collection while the garbage is made would count it as used
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	runtime.GC()
	garbage := make([]byte, 64<<20)
	garbage[1] = 1
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	Tidy()
	if runtime.ReadMemStats(&after); after.NumGC == before.NumGC {
		t.Errorf("no collection with %d bytes of garbage", len(garbage))
	}
}
