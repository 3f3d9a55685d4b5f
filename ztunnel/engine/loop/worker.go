package loop

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/record"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// scratchSize is what one read of a socket takes; filling it is the sign of bulk.
const scratchSize = 64 << 10

// mostIovecs is how many pieces one system call moves.
const mostIovecs = 64

// worker is an event loop and what belongs to it.
type worker struct {
	*poll.Loop
	e    *Engine
	load atomic.Int64 // flows; read by others to choose a worker

	scratch    []byte       // for a read whose bytes are written before the next
	ciphertext []byte       // for records, which are opened in place
	iov        []unix.Iovec // for one call
	slots      [][]byte     // of one bulk read
	delivery   delivery
	chunks     chunkPool
	pipes      pipePool
	records    record.Pool

	carriers map[*carrier]struct{}
	tick     poll.Timer
}

func newWorker(e *Engine) (*worker, error) {
	l, err := poll.New()
	if err != nil {
		return nil, err
	}
	w := &worker{Loop: l, e: e, scratch: make([]byte, scratchSize), ciphertext: make([]byte, recordsSize),
		iov: make([]unix.Iovec, 0, mostIovecs), carriers: map[*carrier]struct{}{}}
	w.delivery.iov = make([]unix.Iovec, 0, mostIovecs)
	l.Share(&e.watch)
	go l.Run()
	return w, nil
}

// release gives back what the worker holds after its loop has ended.
func (w *worker) release() { w.pipes.close() }

// await runs f on the worker, from another goroutine, and returns when it is done.
func (w *worker) await(f func()) {
	done := make(chan struct{})
	if w.Post(func() { defer close(done); f() }) {
		<-done
	}
}

// spread returns another worker than this one, the one with least to do, if there is one.
func (e *Engine) spread(from *worker) *worker {
	best := from
	for _, w := range e.workers {
		if w != from && (best == from || w.load.Load() < best.load.Load()) {
			best = w
		}
	}
	return best
}

// crowd is how many flows more than another's a worker may have before new ones go there: moving costs a
// wake-up.
const crowd = 4

// place returns the worker for a new relay: here, unless here is crowded.
func (e *Engine) place(here *worker) *worker {
	best := here
	for _, w := range e.workers {
		if w.load.Load() < best.load.Load() {
			best = w
		}
	}
	if here.load.Load() <= 2*best.load.Load()+crowd {
		return here
	}
	return best
}

// watching is how long loops may watch: not at all where the process has less CPU time than the machine has
// CPUs, for watching would be at the expense of what is to be done.
func watching(o engine.Options) time.Duration {
	if runtime.GOMAXPROCS(0) < runtime.NumCPU() {
		return 0
	}
	return o.Watch
}
