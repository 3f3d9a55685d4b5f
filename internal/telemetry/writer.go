package telemetry

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Writer puts a bounded buffer and a goroutine before a slow io.Writer: Write never blocks, and what
// finds no room is dropped and counted.
type Writer struct {
	out     io.Writer
	max     int
	log     *slog.Logger
	dropped atomic.Uint64
	wake    chan struct{} // one token: something is queued
	quit    chan struct{}
	done    chan struct{}

	mu     sync.Mutex
	queued []byte // under mu
	closed bool   // under mu
}

// gather is how long a Writer waits for more before it writes: a write for each line costs a busy proxy more
// than the line.
const gather = 10 * time.Millisecond

// DefaultQueue is how many bytes a Writer keeps for a slow disk.
const DefaultQueue = 4 << 20

// NewWriter writes to out what is queued, at most max bytes (0: DefaultQueue). A write that fails is
// told to log, at most once a minute. Close ends it; out remains the caller's.
func NewWriter(out io.Writer, max int, log *slog.Logger) *Writer {
	if max == 0 {
		max = DefaultQueue
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{out: out, max: max, log: log, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

// Write queues p whole or drops it whole; it always reports success. p is copied.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	full := w.closed || len(w.queued)+len(p) > w.max
	if !full {
		w.queued = append(w.queued, p...)
	}
	w.mu.Unlock()
	if full {
		w.dropped.Add(1)
		return len(p), nil
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return len(p), nil
}

// Dropped returns how many writes found no room or failed.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// Close writes what is queued and ends the goroutine, but waits no longer than timeout for a writer
// that blocks.
func (w *Writer) Close(timeout time.Duration) {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.quit)
	}
	w.mu.Unlock()
	select {
	case <-w.done:
	case <-time.After(timeout):
	}
}

func (w *Writer) run() {
	defer close(w.done)
	var spare []byte
	var told time.Time
	for {
		if !w.await() {
			_ = w.put(w.take(nil)) // the last words: nobody is left to be told
			return
		}
		batch := w.take(spare)
		if err := w.put(batch); err != nil && time.Since(told) > time.Minute {
			told = time.Now()
			w.log.Warn("write access log", "error", err)
		}
		spare = batch[:0]
	}
}

// await returns a while after something is queued. False says that the Writer is closed.
func (w *Writer) await() bool {
	select {
	case <-w.wake:
	case <-w.quit:
		return false
	}
	select {
	case <-time.After(gather):
		return true
	case <-w.quit:
		return false
	}
}

// take exchanges the queue for an empty buffer.
func (w *Writer) take(spare []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := w.queued
	w.queued = spare
	return batch
}

func (w *Writer) put(batch []byte) error {
	if len(batch) == 0 {
		return nil
	}
	_, err := w.out.Write(batch)
	if err != nil {
		w.dropped.Add(1)
	}
	return err
}
