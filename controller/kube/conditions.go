package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/ambitmesh/ambit/controller/translate"
)

// Conditions writes what became of users' objects into their status. One at a time may run in a cluster.
type Conditions struct {
	Client   dynamic.Interface
	Log      *slog.Logger
	Now      func() time.Time
	Coalesce time.Duration // how long changes are collected; 0: 500 ms
	Retry    time.Duration // after a failure; 0: 5 s

	written map[translate.Ref]written
}

// written is what a condition is known to say, or when to try again.
type written struct {
	verdict
	generation int64
	again      time.Time // zero: it is written
}

// Run writes what differs, now and whenever changed has a token, until ctx ends.
func (c *Conditions) Run(ctx context.Context, current func() []translate.Status, changed <-chan struct{}) {
	c.written = map[translate.Ref]written{} // another may have written meanwhile
	coalesce, retry := orDefault(c.Coalesce, 500*time.Millisecond), orDefault(c.Retry, 5*time.Second)
	every := time.NewTicker(retry)
	defer every.Stop()
	for {
		c.round(ctx, current(), retry)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			continue
		case <-changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(coalesce):
		}
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// round writes what differs from what is known to be written.
func (c *Conditions) round(ctx context.Context, all []translate.Status, retry time.Duration) {
	there := map[translate.Ref]bool{}
	for _, st := range all {
		if _, ok := resourceOf(st.Kind); !ok || ctx.Err() != nil {
			continue
		}
		there[st.Ref] = true
		want := written{verdict: verdictOf(st), generation: st.Generation}
		if have, known := c.written[st.Ref]; known && (have == want || have.again.After(c.Now())) {
			continue
		}
		if err := c.write(ctx, st.Ref, want); err != nil {
			c.Log.Warn("write status; it will be tried again", "object", st.Ref, "error", err)
			want.again = c.Now().Add(retry)
		}
		c.written[st.Ref] = want
	}
	for ref := range c.written {
		if !there[ref] {
			delete(c.written, ref)
		}
	}
}

// write makes the object's status say so, if it does not.
func (c *Conditions) write(ctx context.Context, ref translate.Ref, w written) error {
	gvr, _ := resourceOf(ref.Kind)
	client := c.Client.Resource(gvr).Namespace(ref.Namespace)
	got, err := client.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil // gone, and so will its status be
	}
	if err != nil {
		return err
	}
	if w.generation != 0 && w.generation != got.GetGeneration() {
		return fmt.Errorf("its generation is %d, judged was %d", got.GetGeneration(), w.generation)
	}
	conditions, changed := merge(conditionsOf(got), ConditionType, w.verdict, got.GetGeneration(), c.Now())
	if !changed {
		return nil
	}
	return patch(ctx, client, got, "conditions", conditions)
}
