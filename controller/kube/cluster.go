package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/ambitmesh/ambit/controller/ca"
	"github.com/ambitmesh/ambit/controller/translate"
	"github.com/ambitmesh/ambit/internal/version"
)

// Config is what a Cluster is made from.
type Config struct {
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Secret    types.NamespacedName // of the CA; no name: the state directory has it
	ConfigMap types.NamespacedName // of the trust bundle; no name: none
	Lease     types.NamespacedName // no name: this replica writes no status
	Identity  string               // of this replica
	Log       *slog.Logger
	Now       func() time.Time
	Refresh   time.Duration // how often the CA's Secret is looked at; 0: 10 s
}

// Cluster is a replica's part in its cluster.
type Cluster struct {
	cfg   Config
	lease *Lease
}

// New returns a Cluster that does nothing until Run.
func New(cfg Config) (*Cluster, error) {
	if cfg.Client == nil || cfg.Dynamic == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("new cluster: Client, Dynamic, Log and Now are required")
	}
	cfg.Refresh = orDefault(cfg.Refresh, 10*time.Second)
	c := &Cluster{cfg: cfg}
	if cfg.Lease.Name != "" {
		if cfg.Identity == "" {
			return nil, errors.New("new cluster: a lease needs an identity of the replica")
		}
		c.lease = &Lease{Client: cfg.Client, Name: cfg.Lease, Identity: cfg.Identity, Log: cfg.Log}
	}
	return c, nil
}

// Store is where the CA is; nil: the state directory.
func (c *Cluster) Store() ca.Store {
	if c.cfg.Secret.Name == "" {
		return nil
	}
	return Secret{Client: c.cfg.Client, Name: c.cfg.Secret}
}

// Lag is how late a replica may see a step of a rotation.
func (c *Cluster) Lag() time.Duration { return 3 * c.cfg.Refresh }

// MayRotate reports an error unless this replica may rotate the root.
func (c *Cluster) MayRotate() error {
	if c.lease == nil || c.lease.Held() {
		return nil
	}
	return fmt.Errorf("this replica does not hold the lease %s; %q does: ask that one", c.cfg.Lease, c.lease.Holder())
}

// Leads reports whether this replica holds the lease.
func (c *Cluster) Leads() bool { return c.lease != nil && c.lease.Held() }

// Work is what Run works on.
type Work struct {
	CA       *ca.CA
	Statuses func() []translate.Status
	Changed  <-chan struct{} // a token: Statuses may differ
}

// Run works until ctx ends.
func (c *Cluster) Run(ctx context.Context, w Work) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { c.follow(ctx, w.CA); return nil })
	if c.lease != nil {
		g.Go(func() error { return c.lease.Run(ctx, func(ctx context.Context) { c.lead(ctx, w) }) })
	}
	return g.Wait()
}

func (c *Cluster) lead(ctx context.Context, w Work) {
	conditions := &Conditions{Client: c.cfg.Dynamic, Log: c.cfg.Log, Now: c.cfg.Now}
	gateways := &Gateways{Client: c.cfg.Dynamic, Log: c.cfg.Log, Now: c.cfg.Now, Version: version.String()}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { gateways.Run(ctx) })
	conditions.Run(ctx, w.Statuses, w.Changed)
}

// follow keeps the CA equal to its Secret, and the ConfigMap to the CA.
func (c *Cluster) follow(ctx context.Context, authority *ca.CA) {
	look, publish := time.NewTicker(c.cfg.Refresh), time.NewTicker(time.Second)
	defer look.Stop()
	defer publish.Stop()
	var p publisher
	for {
		if err := p.step(ctx, c, authority.Bundle()); err != nil {
			c.cfg.Log.Warn("publish the trust bundle; it will be tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-publish.C:
		case <-look.C:
			if err := c.refresh(ctx, authority); err != nil {
				c.cfg.Log.Warn("look at the CA's Secret; what is known stays in force", "error", err)
			}
		}
	}
}

func (c *Cluster) refresh(ctx context.Context, authority *ca.CA) error {
	if c.cfg.Secret.Name == "" {
		return nil
	}
	return authority.Refresh(ctx)
}

// publisher remembers what need not be done again.
type publisher struct {
	made bool   // the ConfigMap exists
	last string // what this replica, as the holder, has published
}

// step publishes as the holder; others only make what is missing, so that a first start need not wait.
func (p *publisher) step(ctx context.Context, c *Cluster, pem string) error {
	if c.cfg.ConfigMap.Name == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	b := Bundle{Client: c.cfg.Client, Name: c.cfg.ConfigMap}
	if c.lease != nil && !c.lease.Held() {
		p.last = ""
		if p.made {
			return nil
		}
		err := b.Create(ctx, pem)
		p.made = err == nil
		return err
	}
	if p.last == pem {
		return nil
	}
	if err := b.Publish(ctx, pem); err != nil {
		return err
	}
	p.made, p.last = true, pem
	return nil
}
