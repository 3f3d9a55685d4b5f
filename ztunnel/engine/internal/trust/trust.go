// Package trust waits for certificates and watches over those of peers.
package trust

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

var errNoCert = errors.New("no certificate in time")

// askAgain is how soon an expired certificate is asked for again, if nothing says when.
const askAgain = 100 * time.Millisecond

// Source is who gives out certificates, and how long one is waited for.
type Source struct {
	Certs engine.Certs
	Wait  time.Duration
	Now   func() time.Time
}

// Cert waits for a certificate of id that is valid.
func (s Source) Cert(ctx context.Context, id identity.ID) (*identity.Cert, error) {
	c, again := s.Certs.Get(id)
	if c != nil && c.Valid(s.Now()) {
		return c, nil
	}
	late := time.NewTimer(s.Wait)
	defer late.Stop()
	for {
		if again == nil || c != nil {
			again = after(askAgain)
		}
		select {
		case <-again:
		case <-late.C:
			return nil, fmt.Errorf("certificate of %s: %w", id, errNoCert)
		case <-ctx.Done():
			return nil, fmt.Errorf("certificate of %s: %w", id, context.Cause(ctx))
		}
		if c, again = s.Certs.Get(id); c != nil && c.Valid(s.Now()) {
			return c, nil
		}
	}
}

func after(d time.Duration) <-chan struct{} {
	ch := make(chan struct{})
	time.AfterFunc(d, func() { close(ch) })
	return ch
}

// Peer is the verified chain of a connection's other end.
type Peer struct {
	Chain []*x509.Certificate
	Roots *x509.CertPool // that it last chained to; at the handshake
}

// Trusted reports whether the peer's certificate still chains to what our own was issued with.
func (p *Peer) Trusted(own *identity.Cert, now time.Time) bool {
	if p.Roots == own.Roots || p.Roots.Equal(own.Roots) {
		return true
	}
	between := x509.NewCertPool()
	for _, c := range p.Chain[1:] {
		between.AddCert(c)
	}
	leaf := p.Chain[0]
	if now.After(leaf.NotAfter) { // its expiry is the sweeper's business
		now = leaf.NotAfter
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: own.Roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// LeafUntil is until when a connection should be used: a tenth of the leaf's life, but not more than
// five minutes, before its end.
func LeafUntil(leaf *x509.Certificate) time.Time {
	margin := min(leaf.NotAfter.Sub(leaf.NotBefore)/10, 5*time.Minute)
	return leaf.NotAfter.Add(-margin)
}

// Earlier returns the earlier one.
func Earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
