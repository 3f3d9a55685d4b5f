package resident

import (
	"runtime"
	"runtime/metrics"
)

// follow sets what is right after each collection, until end: by the next look a heap that grows fast would
// have grown to five times its size.
func (e *ease) follow(end <-chan struct{}) {
	done := make(chan struct{}, 1)
	for e.set(0); ; e.set(liveNow()) {
		tellCollected(done)
		select {
		case <-done:
		case <-end:
			return
		}
	}
}

// tellCollected has the next collection leave word in done, which has room for it.
func tellCollected(done chan<- struct{}) {
	runtime.AddCleanup(&struct{ _ *byte }{}, func(done chan<- struct{}) { // of its own: not a tiny object
		select {
		case done <- struct{}{}:
		default:
		}
	}, done)
}

// liveNow is the live memory when it was last marked, in bytes.
func liveNow() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if metrics.Read(s); s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
