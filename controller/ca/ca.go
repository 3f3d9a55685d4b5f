package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/controller/state"
)

// Options configure a CA.
type Options struct {
	Dir         string // the state directory, which must exist; root.pem is written there
	Store       Store  // of keys and certificates; nil: Dir
	TrustDomain string
	LeafLife    time.Duration    // the longest; 0: 24 h
	Lag         time.Duration    // after which every controller that shares Store has refreshed
	Log         *slog.Logger     // nil: discard
	Now         func() time.Time // nil: time.Now
}

// CA signs. Safe for concurrent use.
type CA struct {
	fresh bool // the root was made by this process
	opts  Options

	mu      sync.Mutex
	saved   *saved // nil with the user's CA
	version string // of the store
	issuer  *issuer
	epoch   uint64 // counts changes of issuer
}

// MinLeafLife is the shortest life of leaves that proxies can keep up with.
const MinLeafLife = time.Second

// Open loads the CA of a state directory: the user's (ca.pem, ca-key.pem, ca-roots.pem), or our own,
// which is made at the first start. It also writes the bundle to root.pem.
func Open(o Options) (*CA, error) {
	if o.LeafLife == 0 {
		o.LeafLife = 24 * time.Hour
	}
	if o.LeafLife < MinLeafLife {
		return nil, fmt.Errorf("open CA: leaves of %s are too short, at least %s", o.LeafLife, MinLeafLife)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Store == nil {
		o.Store = directory(o.Dir)
	}
	c := &CA{opts: o}
	release, err := state.Lock(o.Dir, "ca.lock", true)
	if err != nil {
		return nil, fmt.Errorf("open CA: %w", err)
	}
	defer release() //nolint:errcheck // closes a file that was not written
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("open CA: %w", err)
	}
	return c, c.writeBundle()
}

func (c *CA) create() (*saved, error) {
	now := c.opts.Now()
	r, err := newRoot(c.opts.TrustDomain, now)
	if err != nil {
		return nil, err
	}
	s := &saved{Step: Steady, Stepped: now.UTC(), LongestLife: c.opts.LeafLife}
	if err := s.add(r); err != nil {
		return nil, err
	}
	return s, nil
}

// Fresh reports whether this process made the first root: nobody holds a certificate of an earlier one.
func (c *CA) Fresh() bool { return c.fresh }

func (c *CA) writeBundle() error {
	return state.WriteFile(filepath.Join(c.opts.Dir, bundleFile), []byte(c.current().bundle()), 0o644)
}

func (c *CA) current() *issuer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.issuer
}

// Issue signs a leaf for a public key. It lives for life, but no longer than the CA's own limit; 0 is that
// limit. chain is the answer to the caller: the leaf, what is between, and last the roots, in PEM.
func (c *CA) Issue(pub any, n Names, life time.Duration) (chain []string, leaf *x509.Certificate, err error) {
	if life <= 0 || life > c.opts.LeafLife {
		life = c.opts.LeafLife
	}
	i := c.current()
	leaf, err = i.issue(pub, n, life, c.opts.Now())
	if err != nil {
		return nil, nil, err
	}
	return i.chain(leaf), leaf, nil
}

// Bundle returns the roots in PEM.
func (c *CA) Bundle() string { return c.current().bundle() }

// Roots returns the roots. The caller must not change them.
func (c *CA) Roots() []*x509.Certificate { return c.current().roots }

// Epoch grows when what signs or what is trusted changes.
func (c *CA) Epoch() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// ErrRotation is wrapped where a step cannot be taken.
var ErrRotation = errors.New("the root cannot be rotated so")
