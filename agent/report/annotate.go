package report

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/ambitmesh/ambit/agent"
)

// wanted says whether the pod should have the annotation. A pod of which nothing is certain keeps what
// it has: an agent that has just started finds enrolled pods one by one.
func (w *Writer) wanted(p agent.PodStatus) bool {
	switch {
	case p.Actual == agent.ActualRetiring || p.Actual == agent.ActualDraining || p.Desired == agent.DesiredNone:
		return false
	case p.Captured:
		return true
	case p.Actual == agent.ActualWaiting || p.Actual == agent.ActualFailed:
		return p.Announced && w.o.Now().Sub(p.Since) < stuckAfter
	}
	return p.Announced
}

func (w *Writer) annotate(ctx context.Context, p agent.PodStatus, t *told) {
	want, now := w.wanted(p), w.o.Now()
	if want == p.Announced {
		t.wait = 0
		return
	}
	if now.Before(t.next) || t.want == want && now.Sub(t.written) < lookEvery {
		return
	}
	err := w.call(ctx, "annotate", func(ctx context.Context) error { return w.api.annotate(ctx, p, want) })
	switch {
	case err == nil:
		t.want, t.written, t.wait = want, now, 0
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err): // the pod is gone, or another one has its name
		t.want, t.written = want, now
	default:
		w.o.Log.Warn("annotate pod", "namespace", p.Namespace, "name", p.Name, "error", err)
		t.wait = min(max(2*t.wait, firstRetry), lastRetry)
		t.next = now.Add(t.wait)
	}
}

// call makes one call, slowly enough.
func (w *Writer) call(ctx context.Context, what string, f func(context.Context) error) error {
	if err := w.limit.Wait(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := f(ctx)
	result := "ok"
	if err != nil {
		result = "error"
	}
	w.calls.WithLabelValues(what, result).Inc()
	return err
}
