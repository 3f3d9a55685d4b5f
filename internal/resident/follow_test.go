package resident

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// A heap that has grown is collected as one of its size at once, not at the next look. The end is one.
func TestFollow(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(runtimePercent)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	end, ended := make(chan struct{}), make(chan struct{})
	var e ease
	go func() {
		defer close(ended)
		e.follow(end)
	}()
	live := make([][]byte, 64)
	for i := range live {
		live[i] = make([]byte, room/32)
	}
	percent := uint64(0)
	for deadline := time.Now().Add(time.Minute); percent != runtimePercent && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		runtime.GC()
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		percent = s[0].Value.Uint64()
	}
	runtime.KeepAlive(live)
	if percent != runtimePercent {
		t.Errorf("told %d for %d MB", percent, 2*room>>20)
	}
	close(end)
	<-ended
	if e.percent != runtimePercent {
		t.Errorf("it has told %d", e.percent)
	}
}
