package loop

import (
	"testing"
	"time"
)

// TestPlace: new relays stay where they are, unless it is crowded there.
func TestPlace(t *testing.T) {
	e := &Engine{workers: []*worker{{}, {}, {}}}
	here := e.workers[0]
	for _, c := range []struct {
		loads [3]int64
		want  int
	}{
		{[3]int64{0, 0, 0}, 0},
		{[3]int64{crowd, 0, 0}, 0},
		{[3]int64{crowd + 1, 1, 0}, 2},
		{[3]int64{100, 60, 60}, 0},
		{[3]int64{1000, 60, 50}, 2},
	} {
		for i, n := range c.loads {
			e.workers[i].load.Store(n)
		}
		if got := e.place(here); got != e.workers[c.want] {
			t.Errorf("%v: not worker %d", c.loads, c.want)
		}
	}
	if e.spread(here) != e.workers[2] {
		t.Error("the next connection is not the idlest worker's")
	}
	one := &Engine{workers: []*worker{here}}
	if one.spread(here) != here {
		t.Error("there is no other worker")
	}
}

// TestOverworked: a hot connection gets help, but not more than there are workers, and not at once again.
func TestOverworked(t *testing.T) {
	now := time.Now()
	c := &carrier{}
	tg := &target{conns: []*carrier{c}}
	if tg.overworked(c, now, 2) {
		t.Error("it is not hot")
	}
	c.hot.Store(true)
	if tg.overworked(c, now, 1) {
		t.Error("there is no other worker")
	}
	if !tg.overworked(c, now, 2) || tg.overworked(c, now, 2) {
		t.Error("help is to be asked for once")
	}
	if !tg.overworked(c, now.Add(2*tickEvery), 2) {
		t.Error("help is to be asked for again")
	}
}
