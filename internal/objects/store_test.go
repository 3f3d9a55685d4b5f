package objects

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestHistory: events are kept for a while and no longer, and none is skipped by a watch that is answered.
func TestHistory(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newStore(0, func() time.Time { return now })
	put := func(n int) {
		for range n {
			s.set("a", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(s.generation)}})
		}
	}
	check := func(what string, from uint64, want int) {
		t.Helper()
		events, _, ok := s.since(from)
		if want < 0 {
			if ok {
				t.Errorf("%s: events from %d are still held", what, from)
			}
			return
		}
		if !ok || len(events) != want {
			t.Fatalf("%s: %d events from %d, %v; want %d", what, len(events), from, ok, want)
		}
		for i, e := range events {
			if e.generation != from+uint64(i)+1 {
				t.Fatalf("%s: event %d is of generation %d", what, i, e.generation)
			}
		}
	}
	put(100)
	check("at once", 0, 100)
	now = now.Add(keepFor / 2)
	put(100)
	check("a moment later", 0, 200)
	now = now.Add(keepFor/2 + time.Second)
	put(50)
	check("less than half is old", 0, 250)
	now = now.Add(keepFor / 2)
	put(1)
	check("most is old", 0, -1)
	check("most is old", 200, 51)
	put(3 * history)
	check("a burst", 251, -1)
	check("a burst", 251+2*history, history)
	if n := len(s.events); n > 2*history {
		t.Errorf("%d events are held, at most %d", n, 2*history)
	}
}
