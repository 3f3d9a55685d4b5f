package resident

import (
	"log/slog"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// lookEvery is also how long what is given back should not be needed again.
	lookEvery = 5 * time.Second
	// dropEvery is rare enough that what comes back costs next to nothing: about two hundred page faults, which
	// find the page in the cache, half a millisecond in all.
	dropEvery = 10 * time.Second
)

// Settle gives back what the process holds and does not use: the heap that its start, a large
// configuration or a crowd of connections took, and from time to time the pages of its program that only
// rare work uses. stop ends that.
func Settle(log *slog.Logger) (stop func()) {
	end := make(chan struct{})
	go settle(log, end)
	go new(ease).follow(end)
	return func() { close(end) }
}

func settle(log *slog.Logger, end <-chan struct{}) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var h heap
	var dropped time.Time
	for {
		select {
		case <-look.C:
		case <-end:
			return
		}
		if h.look().wasteful() || dropped.IsZero() { // after the start in any case
			debug.FreeOSMemory()
		}
		if time.Since(dropped) < dropEvery {
			continue
		}
		dropped = time.Now()
		if err := DropImage(); err != nil {
			log.Warn("give back memory of the program's file", "error", err)
			return
		}
	}
}

// heap is what the collector said at the last look, in bytes.
type heap struct {
	free    uint64 // held, without any object
	objects uint64 // dead ones too
	live    uint64 // when they were last marked
	used    uint64 // by all objects ever
	before  uint64 // used, at the look before
}

func (h *heap) look() *heap {
	s := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	value := func(i int) uint64 {
		if s[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return s[i].Value.Uint64()
	}
	h.free, h.objects, h.live = value(0), value(1), value(2)
	h.before, h.used = h.used, value(3)
	return h
}

const (
	worth = 1 << 20 // bytes; a collection for less is not
	kept  = 1 << 19 // bytes of free pages that each of the runtime's processors keeps to itself
)

// wasteful says whether to collect and give back: where much is free or dead, and what new objects took
// since the last look is less, so that it would not be taken again at once.
func (h *heap) wasteful() bool {
	gain := less(h.free, uint64(runtime.GOMAXPROCS(0))*kept) + less(h.objects, h.live)
	return gain > worth && gain > (h.free+h.objects)/16 && h.used-h.before < gain
}

// less is a less b, at least 0.
func less(a, b uint64) uint64 { return a - min(a, b) }
