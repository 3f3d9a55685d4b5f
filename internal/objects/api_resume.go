package objects

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// resume feeds w from one watch of the API server after another.
func (k *apiKind) resume(ctx context.Context, w *watcher, from watch.Interface, o metav1.ListOptions) {
	defer close(w.events)
	ctx, cancel := context.WithCancel(ctx) // a stopped watch must not wait for an API server
	defer cancel()
	go func() {
		select {
		case <-w.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		next := time.NewTimer(firstRetry) // an API server that ends watches at once is not asked at once
		version, again := k.forward(ctx, w, from, o.ResourceVersion)
		from.Stop()
		if !again {
			next.Stop()
			return
		}
		o.ResourceVersion = version
		select {
		case <-next.C:
		case <-k.done:
			return
		case <-ctx.Done():
			return
		}
		var err error
		if from, err = k.open(ctx, o); err != nil {
			k.tell(ctx, w, err)
			return
		}
	}
}

// forward sends events on until the API server ends its watch, and says from which version to go on.
func (k *apiKind) forward(ctx context.Context, w *watcher, from watch.Interface, version string) (next string, again bool) {
	for {
		select {
		case e, ok := <-from.ResultChan():
			if !ok {
				return version, true
			}
			if e.Type == watch.Error {
				err := apierrors.FromObject(e.Object)
				if final("watch", err) {
					w.send(ctx, k.done, e)
					return "", false
				}
				k.note("watch", err)
				return version, true
			}
			if o, ok := e.Object.(metav1.Object); ok {
				slim(e.Object)
				version = o.GetResourceVersion()
				k.saw(version)
			}
			if !w.send(ctx, k.done, e) {
				return "", false
			}
		case <-k.done:
			return "", false
		case <-ctx.Done():
			return "", false
		}
	}
}

// tell ends a watch that cannot go on as one whose version is too old: the informer lists.
func (k *apiKind) tell(ctx context.Context, w *watcher, err error) {
	if ctx.Err() != nil {
		return
	}
	k.opts.Log.Debug("watch cannot go on", "kind", k.kind, "error", err)
	s := expired(0).Status()
	w.send(ctx, k.done, watch.Event{Type: watch.Error, Object: &s})
}
