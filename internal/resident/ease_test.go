package resident

import (
	"runtime/debug"
	"testing"
)

func TestPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{0: mostPercent, 1 << 20: mostPercent, room / 3: 300, room / 2: 200, room: 100, 10 * room: 100} {
		if got := percentFor(live); got < want-1 || got > want+1 {
			t.Errorf("%d bytes: %d, want %d", live, got, want)
		}
	}
}

// The runtime is told at the start, and when it matters; a large heap is as it was; GOGC has the last word.
func TestEase(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(runtimePercent)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	told := func() int {
		p := debug.SetGCPercent(runtimePercent)
		debug.SetGCPercent(p)
		return p
	}
	var e ease
	for i, c := range []struct {
		live uint64
		want int
	}{{0, 400}, {room / 2, 200}, {room/2 - 1000, 200}, {room * 10 / 9, 100}, {2 * room, 100}, {room / 3, 300}} {
		if e.set(c.live); told() != c.want {
			t.Errorf("%d: told %d, want %d", i, told(), c.want)
		}
	}
	t.Setenv("GOGC", "50")
	if e.set(room); told() != 300 {
		t.Errorf("told %d against GOGC", told())
	}
}
