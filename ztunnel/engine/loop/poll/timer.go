package poll

import (
	"container/heap"
	"os"
	"time"
)

// Timer calls a function of its loop once. The zero Timer is not set.
type Timer struct {
	at  time.Duration // since the loop's start
	f   func()
	pos int // in the heap, from 1; 0: not set
}

// After sets t, or sets it anew: f is called when d has passed.
func (l *Loop) After(t *Timer, d time.Duration, f func()) {
	l.Cancel(t)
	t.at, t.f = time.Since(l.timers.start)+d, f
	heap.Push(&l.timers.heap, t)
}

// Cancel makes sure that t is not set.
func (l *Loop) Cancel(t *Timer) {
	if t.pos > 0 {
		heap.Remove(&l.timers.heap, t.pos-1)
	}
	t.f = nil
}

// timers wakes the loop for the earliest one, or a little too often: the deadline is set anew only when
// it has passed or comes too late.
type timers struct {
	start time.Time
	heap  timerHeap
	armed time.Duration // 0: not
	past  bool          // the deadline that is set has passed
}

// set arranges for the loop to wake in time; true says that a timer is due now.
func (t *timers) set(f *os.File) bool {
	if len(t.heap) == 0 {
		if t.past {
			t.past = false
			_ = f.SetReadDeadline(time.Time{})
		}
		return false
	}
	at := t.heap[0].at
	if t.armed != 0 && t.armed <= at {
		return false
	}
	if at <= time.Since(t.start) {
		return true
	}
	t.armed, t.past = at, false
	_ = f.SetReadDeadline(t.start.Add(at))
	return false
}

func (t *timers) run() {
	if t.armed == 0 && len(t.heap) == 0 {
		return
	}
	now := time.Since(t.start)
	if t.armed != 0 && t.armed <= now {
		t.armed, t.past = 0, true
	}
	for len(t.heap) > 0 && t.heap[0].at <= now {
		x := t.heap[0]
		heap.Pop(&t.heap)
		f := x.f
		x.f = nil
		f()
	}
}

type timerHeap []*Timer

func (h *timerHeap) Len() int           { return len(*h) }
func (h *timerHeap) Less(i, j int) bool { return (*h)[i].at < (*h)[j].at }
func (h *timerHeap) Swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].pos, s[j].pos = i+1, j+1
}
func (h *timerHeap) Push(x any) {
	t, _ := x.(*Timer)
	t.pos = len(*h) + 1
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.pos = 0
	return t
}
