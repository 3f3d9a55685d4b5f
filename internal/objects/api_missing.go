package objects

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// missingVersion is the version of the empty list of a kind that the API server does not have. Versions
// of real lists are above 0.
const missingVersion = "0"

// missing is what is known of a kind's CustomResourceDefinition.
type missing struct {
	mu    sync.Mutex
	once  bool      // it was there
	since time.Time // first answer that it is not; zero: it is there
}

// sure says whether the kind is not there. If it was, an API server that just starts may not have read
// its definitions yet: policies would fall, so it must stay away for a while.
func (m *missing) sure(o *APIOptions) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.since.IsZero() {
		m.since = o.Now()
	}
	return !m.once || o.Now().Sub(m.since) >= o.GoneAfter
}

func (m *missing) found() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.once, m.since = true, time.Time{}
}

// await is the watch of a missing kind: it ends as too old once the kind is there, so that the informer
// lists.
func (k *apiKind) await(ctx context.Context) watch.Interface {
	w := &watcher{events: make(chan watch.Event), stop: make(chan struct{})}
	go func() {
		defer close(w.events)
		tick := time.NewTicker(k.opts.LookAgain)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-w.stop:
				return
			case <-k.done:
				return
			case <-ctx.Done():
				return
			}
			_, err := k.calls.list(ctx, metav1.ListOptions{Limit: 1})
			if apierrors.IsNotFound(err) {
				continue
			}
			s := expired(0).Status()
			w.send(ctx, k.done, watch.Event{Type: watch.Error, Object: &s})
			return
		}
	}()
	return w
}
