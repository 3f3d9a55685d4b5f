package objects

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// How long a call that failed waits before it is made again, at first and at most.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 3 * time.Second
)

// apiKind is one kind's lister and watcher. One informer uses it.
type apiKind struct {
	kind       Kind
	opts       *APIOptions
	calls      calls
	done       <-chan struct{}
	generation atomic.Uint64
	failure    failure
	missing    missing
}

// IsWatchListSemanticsUnSupported tells client-go to list, then watch.
func (k *apiKind) IsWatchListSemanticsUnSupported() bool { return true }

// List is ListWithContext without a context.
func (k *apiKind) List(o metav1.ListOptions) (runtime.Object, error) {
	return k.ListWithContext(context.Background(), o)
}

// Watch is WatchWithContext without a context.
func (k *apiKind) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return k.WatchWithContext(context.Background(), o)
}

// ListWithContext asks until the API server answers. A kind that it does not have is empty.
func (k *apiKind) ListWithContext(ctx context.Context, o metav1.ListOptions) (list runtime.Object, err error) {
	err = k.persist(ctx, "list", func() error {
		if list, err = k.calls.list(ctx, o); apierrors.IsNotFound(err) && k.missing.sure(k.opts) {
			list, err = &metav1.List{ListMeta: metav1.ListMeta{ResourceVersion: missingVersion}}, nil
			return nil
		}
		if err == nil {
			k.missing.found()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if l, err := meta.ListAccessor(list); err == nil {
		k.saw(l.GetResourceVersion())
	}
	return list, nil
}

// WatchWithContext sends what changed after o.ResourceVersion, across any number of the API server's own
// watches. Only if that version is too old there, or the kind is gone, does it fail or end, and the
// informer lists again.
func (k *apiKind) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if o.ResourceVersion == missingVersion {
		return k.await(ctx), nil
	}
	first, err := k.open(ctx, o)
	if err != nil {
		return nil, err
	}
	w := &watcher{events: make(chan watch.Event), stop: make(chan struct{})}
	go k.resume(ctx, w, first, o)
	return w, nil
}

func (k *apiKind) open(ctx context.Context, o metav1.ListOptions) (w watch.Interface, err error) {
	err = k.persist(ctx, "watch", func() error {
		w, err = k.calls.watch(ctx, o)
		return err
	})
	return w, err
}

// persist repeats a call whose failure says nothing about the objects.
func (k *apiKind) persist(ctx context.Context, what string, call func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := call()
		if ctx.Err() == nil {
			k.note(what, err)
		}
		if err == nil || final(what, err) {
			return err
		}
		timer := time.NewTimer(wait/2 + rand.N(wait)) // nodes do not come back all at once
		select {
		case <-timer.C:
		case <-k.done:
			timer.Stop()
			return fmt.Errorf("%s %s: the source has ended: %w", what, k.kind, context.Canceled)
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// final says whether the informer must act: list again, or list another version.
func final(what string, err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) || what == "watch" && apierrors.IsNotFound(err)
}

func (k *apiKind) note(what string, err error) {
	if !k.failure.set(err) {
		return
	}
	if err != nil {
		k.opts.Log.Warn("API server does not answer; what is known stays in force", "kind", k.kind, "call", what, "error", err)
		return
	}
	k.opts.Log.Info("API server answers", "kind", k.kind, "call", what)
}

// informerFailed logs what an informer could not do; that it must list again is ordinary.
func (k *apiKind) informerFailed(err error) {
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) && !errors.Is(err, context.Canceled) {
		k.opts.Log.Debug("watch ended", "kind", k.kind, "error", err)
	}
}

// saw raises the generation.
func (k *apiKind) saw(version string) {
	v, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return // opaque versions cannot be compared
	}
	for {
		have := k.generation.Load()
		if v <= have || k.generation.CompareAndSwap(have, v) {
			return
		}
	}
}

func (k *apiKind) problems() []Problem {
	var all []Problem
	if why := k.failure.get(); why != "" {
		all = append(all, Problem{File: apiServer, Kind: k.kind, Reason: why, Standing: "previous"})
	}
	if i, ok := k.calls.(*istioCalls); ok {
		all = append(all, i.problems()...)
	}
	return all
}
