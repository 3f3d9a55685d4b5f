package ca

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	storeTime = 10 * time.Second // bounds reading and writing of a store
	openTries = 5                // others may make the first root at the same time
)

func (c *CA) open() error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	for try := 1; ; try++ {
		err := c.openOnce(ctx)
		if !errors.Is(err, ErrMoved) || try == openTries {
			return err
		}
	}
}

// openOnce reads the store, and makes our own state if there is none.
func (c *CA) openOnce(ctx context.Context) error {
	files, version, err := c.opts.Store.Read(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	if c.issuer, err = readOwn(files, c.opts.Now()); err != nil || c.issuer != nil {
		c.version = version
		return err
	}
	s, err := load(files)
	if err != nil {
		return err
	}
	fresh := s == nil
	if fresh {
		if s, err = c.create(); err != nil {
			return err
		}
	}
	if fresh || c.opts.LeafLife > s.LongestLife {
		s.LongestLife = max(s.LongestLife, c.opts.LeafLife)
		if version, err = c.write(ctx, s, version); err != nil {
			return err
		}
	}
	c.saved, c.version, c.fresh = s, version, fresh
	if c.issuer, err = s.issuer(); err == nil && fresh {
		root := c.issuer.signer.cert
		c.opts.Log.Info("made a root", "name", root.Subject.CommonName, "until", root.NotAfter)
	}
	return err
}

func (c *CA) write(ctx context.Context, s *saved, version string) (string, error) {
	b, err := s.encode()
	if err != nil {
		return "", err
	}
	return c.opts.Store.Write(ctx, b, version)
}

// Refresh takes over what another controller, or the user, has changed in the store. On error all stays
// as it is.
func (c *CA) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	files, version, err := c.opts.Store.Read(ctx)
	if err != nil {
		return fmt.Errorf("refresh CA: %w", err)
	}
	changed, err := c.take(files, version)
	if err != nil {
		return fmt.Errorf("refresh CA: %w", err)
	}
	if !changed {
		return nil
	}
	c.opts.Log.Info("the CA was changed by another hand", "step", c.current().step)
	return c.writeBundle()
}

func (c *CA) take(files map[string][]byte, version string) (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if version == c.version {
		return false, nil
	}
	next, err := readOwn(files, c.opts.Now())
	if err != nil {
		return false, err
	}
	var s *saved
	if next == nil {
		if s, err = load(files); err != nil {
			return false, err
		}
		if s == nil {
			return false, errors.New("the store has lost its root; the one in memory stays in force")
		}
		if next, err = s.issuer(); err != nil {
			return false, err
		}
	}
	changed = !next.same(c.issuer)
	c.saved, c.issuer, c.version = s, next, version
	if changed {
		c.epoch++
	}
	return changed, nil
}
