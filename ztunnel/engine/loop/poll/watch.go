package poll

import (
	"sync/atomic"
	"time"
)

const (
	// serial is how many turns in a row must have had a single event before a loop watches: where several
	// come at once, sleep gathers them, and the CPU has others to serve.
	serial = 64
	// seldom is the most times that a loop sleeps, rather than watches, after a watch in vain.
	seldom = 63
	// awake is the most times in a row that a loop watches before it sleeps once, for other goroutines' sake.
	awake = 16
)

// Watch is leave to look for the next event for a moment instead of sleeping. A CPU that sleeps takes longer
// to wake than many a peer takes to answer, and waking it is work, too. It pays, and is done, only where
// question and answer take turns and answers come soon. Of the loops that share a Watch one at a time
// watches, so that no more than one CPU is spent. The zero Watch is leave for nothing.
type Watch struct {
	Most time.Duration // of one look
	busy atomic.Bool   // one of them watches
}

// Share gives the loop a part in w. It is called before Run.
func (l *Loop) Share(w *Watch) { l.watch.shared = w }

// Asked says that in this turn somebody elsewhere was sent something, to which there may be an answer.
func (l *Loop) Asked() { l.watch.asked = true }

// Woke says that in this turn somebody on this machine was, who may need this CPU: the loop sleeps.
func (l *Loop) Woke() { l.watch.woke = true }

// Stir says that more goes on than questions and answers. The loop does not watch for a while.
func (l *Loop) Stir() { l.watch.single = 0 }

// watcher decides for a loop when to watch.
type watcher struct {
	shared *Watch // nil: never
	asked  bool   // in this turn
	woke   bool   // in this turn
	single int    // turns in a row with one event
	skip   int    // sleeps that the last watch in vain has cost, less what has paid since
	left   int    // sleeps that are still to come
	row    int    // watches since the last sleep
}

// turned notes a turn with n events, and reports whether to watch after it.
func (w *watcher) turned(n int) bool {
	asked := w.asked && !w.woke
	w.asked, w.woke = false, false
	switch {
	case n > 1:
		w.single = 0
	case n == 1 && w.single < serial:
		w.single++
	}
	switch {
	case w.shared == nil || w.shared.Most <= 0 || !asked || w.single < serial || w.row >= awake:
		return false
	case w.left > 0:
		w.left--
		return false
	}
	return true
}

// look watches, and returns how many events it took.
func (w *watcher) look(take func() int) int {
	if !w.shared.busy.CompareAndSwap(false, true) {
		return 0
	}
	defer w.shared.busy.Store(false)
	w.row++
	for begin := time.Now(); ; {
		n := take()
		switch {
		case n > 0:
			w.skip /= 2
			return n
		case time.Since(begin) >= w.shared.Most:
			w.skip = min(2*w.skip+1, seldom)
			w.left = w.skip
			return 0
		}
	}
}

// slept notes that the loop sleeps.
func (w *watcher) slept() { w.row = 0 }
