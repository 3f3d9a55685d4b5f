package ca

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Rotate takes a step: "prepare", "activate" or "finish". See the package for what each does and when
// finish is refused; force takes it nevertheless.
func (c *CA) Rotate(step string, force bool) error {
	if err := c.rotate(step, force); err != nil {
		return err
	}
	return c.writeBundle()
}

func (c *CA) rotate(step string, force bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.saved == nil {
		return fmt.Errorf("%s: the CA is the user's: replace its files and start again: %w", step, ErrRotation)
	}
	next, err := c.step(step, force)
	if err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	i, err := next.issuer()
	if err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	version, err := c.write(ctx, next, c.version)
	if errors.Is(err, ErrMoved) {
		return fmt.Errorf("%s: %w: %w: look again", step, ErrRotation, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	c.saved, c.issuer, c.version = next, i, version
	c.epoch++
	c.opts.Log.Info("rotated the root", "step", step, "now", next.Step, "signs", i.signer.cert.Subject.CommonName, "force", force)
	return nil
}

func (c *CA) step(step string, force bool) (*saved, error) {
	now := c.opts.Now()
	next := &saved{Stepped: now.UTC(), LongestLife: c.saved.LongestLife, Roots: c.saved.Roots, Cross: c.saved.Cross}
	switch {
	case step == "prepare" && c.saved.Step == Steady:
		return next, c.prepare(next, now)
	case step == "activate" && c.saved.Step == Prepared:
		next.Step = Activated
		return next, nil
	case step == "finish" && c.saved.Step == Activated:
		if at := c.finishAt(); now.Before(at) && !force {
			return nil, fmt.Errorf("leaves of the old root live until %s: %w", at.UTC().Format(time.RFC3339), ErrRotation)
		}
		next.Step, next.Roots, next.Cross, next.LongestLife = Steady, c.saved.Roots[1:], "", c.opts.LeafLife
		return next, nil
	}
	return nil, fmt.Errorf("not possible at step %q (prepare, then activate, then finish): %w", c.saved.Step, ErrRotation)
}

func (c *CA) prepare(next *saved, now time.Time) error {
	fresh, err := newRoot(c.opts.TrustDomain, now)
	if err != nil {
		return err
	}
	cross, err := c.issuer.signer.certify(fresh.cert)
	if err != nil {
		return err
	}
	next.Step, next.Cross = Prepared, identity.EncodeCerts(list(cross))
	next.Roots = append([]savedRoot(nil), next.Roots...)
	return next.add(fresh)
}

// finishAt is when the last leaf from before activate has ended.
func (c *CA) finishAt() time.Time { return c.saved.Stepped.Add(c.saved.LongestLife + c.opts.Lag) }

// RootStatus is one root.
type RootStatus struct {
	Name      string    `json:"name"`
	SHA256    string    `json:"sha256"` // of the certificate, hex
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Signs     bool      `json:"signs"` // it, or an intermediate below it, signs leaves now
}

// Status is the CA's state.
type Status struct {
	Step     Step         `json:"step"`
	Own      bool         `json:"own"` // the user's CA
	LeafLife string       `json:"leafLife"`
	FinishAt time.Time    `json:"finishAt,omitzero"` // when the rotation can be finished
	Roots    []RootStatus `json:"roots"`
}

// Status returns the CA's state.
func (c *CA) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Step: c.issuer.step, Own: c.issuer.own, LeafLife: c.opts.LeafLife.String()}
	if c.issuer.step == Activated {
		s.FinishAt = c.finishAt()
	}
	for _, r := range c.issuer.roots {
		sum := sha256.Sum256(r.Raw)
		s.Roots = append(s.Roots, RootStatus{Name: r.Subject.CommonName, SHA256: hex.EncodeToString(sum[:]), NotBefore: r.NotBefore,
			NotAfter: r.NotAfter, Signs: r.Equal(c.issuer.signer.cert) || c.issuer.own && len(c.issuer.roots) == 1})
	}
	return s
}
