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

const (
	mostVerified = 256             // chains that a Verified remembers
	longestChain = 16 << 10        // bytes; a peer may show more beside its own certificate
	keepVerified = 5 * time.Minute // since a chain was last shown
)

// Verified remembers which chains led to which roots, so that the signatures in a certificate that is seen
// again need not be checked again. What it says holds for exactly the certificates that were shown, in
// their order, for the same pool of roots, which nobody may add to, and while all certificates on the way
// to the root are within their lives; in any other case the chain is verified anew. It knows nothing of
// whom a certificate names, and that the peer has its key is proved in each handshake: both are the
// caller's, each time.
//
// It holds on to the certificates: as long as somebody does, crypto/tls need not parse them again either.
//
// It is safe for concurrent use. The zero value and nil are ready; nil remembers nothing.
type Verified struct {
	mu    sync.Mutex
	known map[chainKey]*known
}

type known struct {
	life
	chain []*x509.Certificate
	used  time.Time
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
	if sizeOf(chain) <= longestChain {
		v.remember(key, &known{lifeOf(path), chain, now})
	}
	return nil
}

func sizeOf(chain []*x509.Certificate) (n int) {
	for _, c := range chain {
		n += len(c.Raw)
	}
	return n
}

func (v *Verified) knows(key chainKey, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := v.known[key]
	if k == nil || !k.has(now) {
		return false
	}
	k.used = now
	return true
}

// remember keeps a chain. If there are too many it forgets some, whichever.
func (v *Verified) remember(key chainKey, k *known) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil {
		v.known = map[chainKey]*known{}
	}
	for old := range v.known {
		if len(v.known) < mostVerified {
			break
		}
		delete(v.known, old)
	}
	v.known[key] = k
}

// Keep forgets what was verified by other roots than these.
func (v *Verified) Keep(roots []*x509.CertPool) {
	v.drop(func(key chainKey, _ *known) bool { return !slices.Contains(roots, key.roots) })
}

// Expire forgets what has ended, and what was not shown for long.
func (v *Verified) Expire(now time.Time) {
	v.drop(func(_ chainKey, k *known) bool { return !k.has(now) || now.Sub(k.used) > keepVerified })
}

func (v *Verified) drop(stale func(chainKey, *known) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, k := range v.known {
		if stale(key, k) {
			delete(v.known, key)
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
