package poll

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Events are taken a few at a time: what answers them is flushed while there is more to do here, so that the
// other node works meanwhile. In a crowd that fills batch after batch each flush may serve more.
const (
	batch   = 16 // the most
	few     = 8
	crowded = 4 // full batches in a row
)

// Handler is told what its descriptor is ready for.
type Handler interface{ Ready(Events) }

// Runner is given another turn.
type Runner interface{ Run() }

// Flusher sends what a turn has gathered.
type Flusher interface{ Flush() }

// slot is what the loop knows of a descriptor. The generation tells events of a closed descriptor from
// those of the next one with its number.
type slot struct {
	h   Handler
	gen int32
}

// Loop is one event loop.
type Loop struct {
	ep, wake int
	file     *os.File // of ep, known to the runtime's poller
	raw      syscall.RawConn
	turns    func(fd uintptr) bool // made once
	take     func() int            // made once; takes the events that there are
	events   [batch]unix.EpollEvent
	full     int // how many batches in a row were

	slots  []slot
	again  []Runner
	flush  []Flusher
	timers timers
	watch  watcher
	quit   bool
	leave  bool
	done   chan struct{}

	mu     sync.Mutex
	posted []func()
	spare  []func()
	called bool // the eventfd was written for what is posted
	closed bool
}

// New makes a loop that does nothing until Run.
func New() (*Loop, error) {
	l := &Loop{ep: -1, wake: -1, done: make(chan struct{})}
	if err := l.open(); err != nil {
		l.release()
		return nil, fmt.Errorf("open event loop: %w", err)
	}
	return l, nil
}

func (l *Loop) open() (err error) {
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(l.ep, true); err != nil { // what makes the runtime poll it
		return os.NewSyscallError("fcntl", err)
	}
	l.file = os.NewFile(uintptr(l.ep), "epoll")
	if l.raw, err = l.file.SyscallConn(); err != nil {
		return err
	}
	if err := l.file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("let the runtime poll: %w", err)
	}
	l.turns = l.untilIdle
	l.take = l.taken
	l.timers.start = time.Now()
	return l.Add(l.wake, (*waker)(l))
}

// Run turns until Stop. It must be called once, and returns when another goroutine has taken over, too.
func (l *Loop) Run() {
	for !l.over() {
		err := l.raw.Read(l.turns)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.due()
		case err != nil:
			l.quit = true // only a closed descriptor does that
		}
	}
	if !l.quit {
		l.leave = false
		go l.Run()
		return
	}
	l.release()
	close(l.done)
}

func (l *Loop) over() bool { return l.quit || l.leave }

// untilIdle turns as long as there is something to do. False parks the goroutine: what became ready since
// the events were taken has told the runtime's poller, which remembers it, so they are not asked for again
// first.
func (l *Loop) untilIdle(uintptr) bool {
	n, more := l.take(), true
	for more {
		l.turn(n)
		if l.over() {
			return true
		}
		n, more = l.next(n)
	}
	return false
}

// taken takes the events that there are, at most a batch of them.
func (l *Loop) taken() int {
	room := few
	if l.full >= crowded {
		room = batch
	}
	n := wait(l.ep, l.events[:room])
	if n < room {
		l.full = 0
	} else {
		l.full++
	}
	return n
}

// next takes the events for another turn, after one with n. False says that there is nothing to do.
func (l *Loop) next(n int) (int, bool) {
	watch := l.watch.turned(n)
	if l.full > 0 || len(l.again) > 0 || l.timers.set(l.file) {
		return l.take(), true
	}
	if watch {
		if n := l.watch.look(l.take); n > 0 {
			return n, true
		}
	}
	l.watch.slept()
	return 0, false
}

// due turns for the sake of timers.
func (l *Loop) due() {
	for {
		l.turn(0)
		if l.over() || !l.timers.set(l.file) {
			return
		}
	}
}

// turn is one turn for the first n events.
func (l *Loop) turn(n int) {
	for i := range l.events[:n] {
		l.dispatch(&l.events[i])
	}
	l.runAgain()
	l.timers.run()
	l.flushAll()
}

// Leave has another goroutine go on after this turn: the thread of this one has gone astray and is to
// end with it.
func (l *Loop) Leave() { l.leave = true }

// Leaving reports whether this turn is the goroutine's last.
func (l *Loop) Leaving() bool { return l.leave }

// Stop ends the loop and returns when it has ended. What was posted before is still done.
func (l *Loop) Stop() {
	l.Post(func() { l.quit = true })
	<-l.done
}

func (l *Loop) release() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
	} else if l.ep >= 0 {
		_ = unix.Close(l.ep)
	}
	if l.wake >= 0 {
		_ = unix.Close(l.wake)
	}
}

func (l *Loop) dispatch(ev *unix.EpollEvent) {
	s := &l.slots[ev.Fd]
	if s.h != nil && s.gen == ev.Pad {
		s.h.Ready(Events(ev.Events))
	}
}

// Again has r run in the next turn, after that turn's events.
func (l *Loop) Again(r Runner) { l.again = append(l.again, r) }

func (l *Loop) runAgain() {
	n := len(l.again)
	for i := range n {
		r := l.again[i]
		l.again[i] = nil
		r.Run()
	}
	l.again = append(l.again[:0], l.again[n:]...)
}

// Flush has f flushed at the end of this turn. The caller asks once a turn.
func (l *Loop) Flush(f Flusher) { l.flush = append(l.flush, f) }

func (l *Loop) flushAll() {
	for i := 0; i < len(l.flush); i++ { // may grow
		l.flush[i].Flush()
		l.flush[i] = nil
	}
	l.flush = l.flush[:0]
}
