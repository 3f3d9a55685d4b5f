package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Lease chooses the replica that writes.
type Lease struct {
	Client   kubernetes.Interface
	Name     types.NamespacedName
	Identity string // of this replica
	Log      *slog.Logger
	Life     time.Duration // how long a holder that is gone is waited for; 0: 15 s

	held   atomic.Bool
	holder atomic.Pointer[string]
}

// Held reports whether this replica is the holder.
func (l *Lease) Held() bool { return l.held.Load() }

// Holder names the holder; "" if it is not known.
func (l *Lease) Holder() string {
	if h := l.holder.Load(); h != nil {
		return *h
	}
	return ""
}

// Run calls lead whenever this replica becomes the holder, with a context that ends when it is no longer,
// until ctx ends; then the lease is given back.
func (l *Lease) Run(ctx context.Context, lead func(context.Context)) error {
	if l.Identity == "" {
		return errors.New("lease: this replica has no identity")
	}
	for ctx.Err() == nil {
		if err := l.term(ctx, lead); err != nil {
			return err
		}
	}
	return nil
}

// term is from one candidacy to its end.
func (l *Lease) term(ctx context.Context, lead func(context.Context)) error {
	life := l.Life
	if life == 0 {
		life = 15 * time.Second
	}
	started, over := make(chan context.Context, 1), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: l.Name.Namespace, Name: l.Name.Name},
			Client:    l.Client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: l.Identity},
		},
		LeaseDuration: life, RenewDeadline: life * 2 / 3, RetryPeriod: life / 8, ReleaseOnCancel: true, Name: l.Name.String(),
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { started <- ctx }, // has room: once a term
			OnStoppedLeading: func() {},
			OnNewLeader:      func(who string) { l.holder.Store(&who) },
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s: %w", l.Name, err)
	}
	go func() { defer close(over); elector.Run(ctx) }()
	select {
	case term := <-started:
		l.lead(term, lead)
	case <-over:
	}
	<-over
	return nil
}

func (l *Lease) lead(ctx context.Context, lead func(context.Context)) {
	l.held.Store(true)
	defer l.held.Store(false)
	l.Log.Info("this replica holds the lease", "lease", l.Name)
	lead(ctx)
	l.Log.Info("this replica holds the lease no longer", "lease", l.Name)
}
