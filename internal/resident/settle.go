package resident

import (
	"log/slog"
	"runtime/debug"
	"time"
)

const (
	// settleAfter is when a process has started: it has read its configuration and serves.
	settleAfter = 10 * time.Second
	// dropEvery is rare enough that what comes back costs nothing, a few hundred page faults each time.
	dropEvery = 5 * time.Minute
)

// Settle gives back, after its start, the heap that only the start took, and from then on now and then the
// pages of its program that only rare work uses. stop ends that.
func Settle(log *slog.Logger) (stop func()) {
	end := make(chan struct{})
	go func() {
		select {
		case <-time.After(settleAfter):
		case <-end:
			return
		}
		debug.FreeOSMemory()
		tick := time.NewTicker(dropEvery)
		defer tick.Stop()
		for {
			if err := DropImage(); err != nil {
				log.Warn("give back memory of the program's file", "error", err)
				return
			}
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() { close(end) }
}
