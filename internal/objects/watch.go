package objects

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// listWatch is a store's list and watch calls.
type listWatch struct {
	store *store
	done  <-chan struct{} // closed when the source ended
}

// IsWatchListSemanticsUnSupported tells client-go to list, then watch.
func (l *listWatch) IsWatchListSemanticsUnSupported() bool { return true }

// List is ListWithContext without a context.
func (l *listWatch) List(o metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.Background(), o)
}

// ListWithContext waits until the source was read once.
func (l *listWatch) ListWithContext(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
	select {
	case <-l.store.readyCh:
		return l.store.list(), nil
	case <-l.done:
		return nil, fmt.Errorf("list: the source has ended: %w", context.Canceled)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Watch is WatchWithContext without a context.
func (l *listWatch) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(context.Background(), o)
}

// WatchWithContext sends what changed after o.ResourceVersion, until stopped.
func (l *listWatch) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	from, err := strconv.ParseUint(o.ResourceVersion, 10, 64)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("resource version %q: want a number", o.ResourceVersion))
	}
	if _, _, ok := l.store.since(from); !ok {
		return nil, expired(from)
	}
	w := &watcher{events: make(chan watch.Event), stop: make(chan struct{})}
	var timeout <-chan time.Time
	if o.TimeoutSeconds != nil {
		timeout = time.After(time.Duration(*o.TimeoutSeconds) * time.Second)
	}
	go w.run(ctx, l, from, timeout)
	return w, nil
}

func expired(from uint64) *apierrors.StatusError {
	return apierrors.NewResourceExpired(fmt.Sprintf("resource version %d is no longer held", from))
}

// watcher is one watch. Its goroutine ends at Stop, at the timeout, with ctx or with the source.
type watcher struct {
	events   chan watch.Event
	stop     chan struct{}
	stopOnce sync.Once
}

// Stop ends the watch.
func (w *watcher) Stop() { w.stopOnce.Do(func() { close(w.stop) }) }

// ResultChan returns the changes; it is closed when the watch has ended.
func (w *watcher) ResultChan() <-chan watch.Event { return w.events }

func (w *watcher) run(ctx context.Context, l *listWatch, from uint64, timeout <-chan time.Time) {
	defer close(w.events)
	for {
		events, changed, ok := l.store.since(from)
		if !ok {
			s := expired(from).Status()
			w.send(ctx, l.done, watch.Event{Type: watch.Error, Object: &s})
			return
		}
		for _, e := range events {
			if !w.send(ctx, l.done, e.Event) {
				return
			}
			from = e.generation
		}
		select {
		case <-changed:
		case <-w.stop:
			return
		case <-timeout:
			return
		case <-l.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) send(ctx context.Context, done <-chan struct{}, e watch.Event) bool {
	select {
	case w.events <- e:
		return true
	case <-w.stop:
	case <-done:
	case <-ctx.Done():
	}
	return false
}
