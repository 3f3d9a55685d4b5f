package loop

import (
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// TestPostFollows: what is posted to a flow runs on the worker that has it by then, since no other may touch it.
func TestPostFollows(t *testing.T) {
	e, err := New(engine.Options{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	first, second := e.workers[0], e.workers[1]
	var f flow
	f.w.Store(first)
	ran, moving, free := false, make(chan struct{}), make(chan struct{})
	first.Post(func() {
		<-moving
		f.w.Store(second)
	})
	second.Post(func() { <-free })
	f.post(func() { ran = true }) // behind the move
	close(moving)
	first.await(func() {
		if ran {
			t.Error("it ran on the worker that the flow has left")
		}
	})
	close(free)
	second.await(func() {
		if !ran {
			t.Error("it was lost")
		}
	})
}
