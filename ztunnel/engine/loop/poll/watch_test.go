package poll

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asking is a watcher after so many turns in which somebody was asked and one event came.
func asking(turns int) *watcher {
	w := &watcher{shared: &Watch{Most: time.Millisecond}}
	for range turns {
		w.ask()
	}
	return w
}

// ask has one more turn, and reports whether to watch after it.
func (w *watcher) ask() bool {
	w.asked = true
	return w.turned(1)
}

func never() int  { return 0 }
func atOnce() int { return 1 }

// TestWatchTurned: a loop watches after a question, when questions and answers take turns and nobody here
// needs the CPU.
func TestWatchTurned(t *testing.T) {
	for name, c := range map[string]struct {
		turns int
		then  func(w *watcher) bool
		want  bool
	}{
		"one by one":          {serial, (*watcher).ask, true},
		"too few":             {serial - 2, (*watcher).ask, false},
		"nobody was asked":    {serial, func(w *watcher) bool { return w.turned(1) }, false},
		"somebody was woken":  {serial, func(w *watcher) bool { w.woke = true; return w.ask() }, false},
		"only that turn":      {serial, func(w *watcher) bool { w.woke = true; w.ask(); return w.ask() }, true},
		"several events":      {serial, func(w *watcher) bool { w.asked = true; return w.turned(2) }, false},
		"and after it":        {serial, func(w *watcher) bool { w.turned(2); return w.ask() }, false},
		"a turn without any":  {serial, func(w *watcher) bool { w.turned(0); return w.ask() }, true},
		"more goes on":        {serial, func(w *watcher) bool { l := Loop{watch: *w}; l.Stir(); return l.watch.ask() }, false},
		"not allowed to":      {serial, func(w *watcher) bool { w.shared = nil; return w.ask() }, false},
		"allowed no time":     {serial, func(w *watcher) bool { w.shared = &Watch{}; return w.ask() }, false},
		"awake for too long":  {serial, func(w *watcher) bool { w.row = awake; return w.ask() }, false},
		"and after its sleep": {serial, func(w *watcher) bool { w.row = awake; w.slept(); return w.ask() }, true},
	} {
		if got := c.then(asking(c.turns)); got != c.want {
			t.Errorf("%s: watch %v, want %v", name, got, c.want)
		}
	}
}

// TestWatchPays: what is in vain is done ever more seldom, and what pays ever more often.
func TestWatchPays(t *testing.T) {
	w := asking(serial)
	sleeps := func() (n int) {
		for !w.ask() {
			n++
		}
		return n
	}
	for _, want := range []int{1, 3, 7, 15, 31, 63, 63} {
		if n := w.look(never); n != 0 {
			t.Fatalf("%d events out of nothing", n)
		}
		w.slept()
		if n := sleeps(); n != want {
			t.Errorf("after a watch in vain %d sleeps, want %d", n, want)
		}
	}
	for _, want := range []int{31, 15, 7, 3, 1, 0} {
		if n := w.look(atOnce); n != 1 {
			t.Fatal("the event was not taken")
		}
		w.slept()
		if n := sleeps(); n != 0 {
			t.Errorf("after a watch that paid %d sleeps", n)
		}
		if w.skip != want {
			t.Errorf("after a watch that paid the next in vain costs twice %d sleeps, want %d", w.skip, want)
		}
	}
}

// TestWatchAlone: while one loop watches, no other does.
func TestWatchAlone(t *testing.T) {
	a := asking(serial)
	b := &watcher{shared: a.shared}
	a.look(func() int {
		if n := b.look(atOnce); n != 0 {
			t.Error("two watch at once")
		}
		return 1
	})
	if n := b.look(atOnce); n != 1 {
		t.Error("the first has not given it up")
	}
}

func TestWatchAllocatesNothing(t *testing.T) {
	w := asking(serial)
	if n := testing.AllocsPerRun(100, func() { w.ask(); w.look(atOnce); w.slept() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWatching: a loop that watches, here for long, is told of events, of what is posted and of its end.
func TestWatching(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	l.Share(&Watch{Most: 5 * time.Millisecond})
	var watched atomic.Int64
	take := l.take
	l.take = func() int {
		if l.watch.shared.busy.Load() {
			watched.Add(1)
		}
		return take()
	}
	go l.Run()
	t.Cleanup(l.Stop)
	a, b := pair(t)
	_ = unix.SetNonblock(b, false)
	_ = unix.SetsockoptTimeval(b, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20})
	on(t, l, func() {
		if err := l.Add(a, handler(func(Events) { echoOne(a); l.Asked() })); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		pingAll(t, b, 4*serial, 0)
		if watched.Swap(0) == 0 {
			t.Error("it has not watched")
		}
		on(t, l, func() {})
	}
}

// echoOne leaves what comes next to the next turn.
func echoOne(fd int) {
	var b [1]byte
	if n, errno := Read(fd, b[:]); errno == 0 && n == 1 {
		Write(fd, b[:])
	}
}
