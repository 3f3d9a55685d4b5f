package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/ambitmesh/ambit/internal/identity"
)

// AccountsConfig configures Accounts.
type AccountsConfig struct {
	Reviewer Reviewer
	Proxies  []Account // the accounts of nodes' proxies
	// NodeOf returns the node of a pod that exists with that uid, where the token does not name it;
	// nil: such tokens are bound to no node.
	NodeOf func(namespace, pod, uid string) string
	Now    func() time.Time // required

	Keep      time.Duration // how long an answer is used again; 0: 30 s
	KeepBad   time.Duration // the same of refusals; 0: 5 s
	AskTime   time.Duration // bounds one question; 0: 10 s
	AskRate   rate.Limit    // questions a second of one address; 0: 10, in bursts of ten seconds' worth
	AskAtOnce int           // questions at once; 0: 32
}

// Accounts knows callers by tokens of service accounts.
type Accounts struct {
	cfg    AccountsConfig
	known  memory
	flying singleflight.Group
	slots  chan struct{}
	askers limiters
}

// NewAccounts returns Accounts that remember nothing.
func NewAccounts(cfg AccountsConfig) *Accounts {
	or(&cfg.Keep, 30*time.Second)
	or(&cfg.KeepBad, 5*time.Second)
	or(&cfg.AskTime, 10*time.Second)
	or(&cfg.AskRate, 10)
	or(&cfg.AskAtOnce, 32)
	return &Accounts{cfg: cfg, known: memory{all: map[sum]answer{}}, slots: make(chan struct{}, cfg.AskAtOnce),
		askers: limiters{limit: cfg.AskRate}}
}

func or[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// caller says who holds a token. Of proxies the token must be bound to a node.
func (a *Accounts) caller(ctx context.Context, token, trustDomain string) (Caller, error) {
	r, err := a.review(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	if !a.cfg.Now().Before(r.Until) {
		return Caller{}, fmt.Errorf("token, %s: %w", r.Until, ErrExpired)
	}
	id := identity.ID{TrustDomain: trustDomain, Namespace: r.Namespace, ServiceAccount: r.Name}
	c := Caller{URI: id.String(), Until: r.Until}
	if slices.Contains(a.cfg.Proxies, r.Account) {
		c.Node = a.node(r)
	}
	return c, nil
}

func (a *Accounts) node(r Review) string {
	if r.Node == "" && r.Pod != "" && r.PodUID != "" && a.cfg.NodeOf != nil {
		return a.cfg.NodeOf(r.Namespace, r.Pod, r.PodUID)
	}
	return r.Node
}

// review asks the cluster, unless it answered a short time ago.
func (a *Accounts) review(ctx context.Context, token string) (Review, error) {
	key := sumOf(token)
	if got, ok := a.known.get(key, a.cfg.Now()); ok {
		return got.review, got.err
	}
	if !a.askers.allow(peerHost(ctx), a.cfg.Now()) {
		return Review{}, ErrBusy
	}
	done := a.flying.DoChan(string(key[:]), func() (any, error) { return a.ask(key, token) })
	select {
	case <-ctx.Done():
		return Review{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case got := <-done:
		r, ok := got.Val.(Review)
		if !ok {
			return Review{}, errors.New("review token: no review")
		}
		return r, got.Err
	}
}

// ask is done once for all that wait for the same token, so it ends with none of them.
func (a *Accounts) ask(key sum, token string) (Review, error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		return Review{}, ErrBusy
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.AskTime)
	defer cancel()
	r, err := a.cfg.Reviewer.Review(ctx, token)
	now := a.cfg.Now()
	switch {
	case err == nil:
		until := now.Add(a.cfg.Keep)
		if r.Until.Before(until) {
			until = r.Until
		}
		a.known.put(key, answer{review: r, until: until}, now)
	case errors.Is(err, ErrToken):
		a.known.put(key, answer{err: err, until: now.Add(a.cfg.KeepBad)}, now)
	default:
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return r, err
}
