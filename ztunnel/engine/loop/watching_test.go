package loop

import (
	"runtime"
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// TestWatching: by default and as told, and not at the expense of others.
func TestWatching(t *testing.T) {
	cpus := runtime.NumCPU()
	before := runtime.GOMAXPROCS(cpus)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	if d := watching(engine.Options{}.WithDefaults()); d != engine.WatchMost {
		t.Errorf("by default %v", d)
	}
	if d := watching(engine.Options{Watch: 7}.WithDefaults()); d != 7 {
		t.Errorf("told 7 ns: %v", d)
	}
	if d := watching(engine.Options{Watch: -1}.WithDefaults()); d != 0 {
		t.Errorf("told never: %v", d)
	}
	if cpus == 1 {
		return
	}
	runtime.GOMAXPROCS(cpus - 1)
	if d := watching(engine.Options{Watch: 7}.WithDefaults()); d != 0 {
		t.Errorf("with a limit of CPU time: %v", d)
	}
}
