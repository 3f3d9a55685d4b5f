package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"
)

// mostVerified bounds what a Verified remembers.
const mostVerified = 1024

// Verified remembers which chains led to which roots, so that the signatures in a certificate that is seen
// again need not be checked again. What it says holds for exactly the certificates that were shown, in
// their order, for the same pool of roots, which nobody may add to, and while all certificates on the way
// to the root are within their lives; in any other case the chain is verified anew. It knows nothing of
// whom a certificate names, and that the peer has its key is proved in each handshake: both are the
// caller's, each time.
//
// It is safe for concurrent use. The zero value and nil are ready; nil remembers nothing.
type Verified struct {
	mu    sync.Mutex
	lives map[chainKey]life
}

// chainKey names the pool itself: as long as the key is there no other has its address.
type chainKey struct {
	roots *x509.CertPool
	sum   [sha256.Size]byte // of the certificates
}

// life is when all certificates of a verified chain are within theirs, ends included.
type life struct{ from, until time.Time }

func (l life) has(now time.Time) bool { return !now.Before(l.from) && !now.After(l.until) }

// check is verifyChain, by memory if possible.
func (v *Verified) check(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if v == nil || len(chain) == 0 {
		_, err := verifyChain(chain, roots, now)
		return err
	}
	key := chainKey{roots, sumOf(chain)}
	if v.knows(key, now) {
		return nil
	}
	path, err := verifyChain(chain, roots, now)
	if err != nil {
		return err
	}
	v.remember(key, lifeOf(path))
	return nil
}

func (v *Verified) knows(key chainKey, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.lives[key]
	return ok && l.has(now)
}

// remember keeps a chain. If there are too many it forgets some, whichever.
func (v *Verified) remember(key chainKey, l life) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lives == nil {
		v.lives = map[chainKey]life{}
	}
	for old := range v.lives {
		if len(v.lives) < mostVerified {
			break
		}
		delete(v.lives, old)
	}
	v.lives[key] = l
}

// Keep forgets what was verified by other roots than these, and what has ended.
func (v *Verified) Keep(roots []*x509.CertPool, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, l := range v.lives {
		if now.After(l.until) || !slices.Contains(roots, key.roots) {
			delete(v.lives, key)
		}
	}
}

// sumOf tells chains apart also if their certificates are cut differently.
func sumOf(chain []*x509.Certificate) (sum [sha256.Size]byte) {
	h := sha256.New()
	var size [8]byte
	for _, c := range chain {
		binary.BigEndian.PutUint64(size[:], uint64(len(c.Raw)))
		h.Write(size[:])
		h.Write(c.Raw)
	}
	h.Sum(sum[:0])
	return sum
}

func lifeOf(path []*x509.Certificate) life {
	l := life{path[0].NotBefore, path[0].NotAfter}
	for _, c := range path[1:] {
		if c.NotBefore.After(l.from) {
			l.from = c.NotBefore
		}
		if c.NotAfter.Before(l.until) {
			l.until = c.NotAfter
		}
	}
	return l
}

// verifyChain checks that chain (leaf first) leads to roots at now, and returns one way, from the leaf to
// the root.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) ([]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("no certificate: %w", ErrUntrusted)
	}
	leaf := chain[0]
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return nil, fmt.Errorf("valid %s to %s: %w", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), ErrExpired)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return paths[0], nil
}
