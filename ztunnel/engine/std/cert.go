package std

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

var errNoCert = errors.New("no certificate in time")

// askAgain is how soon an expired certificate is asked for again, if nothing says when.
const askAgain = 100 * time.Millisecond

// cert waits for a certificate of id that is valid.
func (e *Engine) cert(ctx context.Context, id identity.ID) (*identity.Cert, error) {
	c, again := e.opts.Certs.Get(id)
	if c != nil && c.Valid(e.opts.Now()) {
		return c, nil
	}
	late := time.NewTimer(e.opts.CertWait)
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
		if c, again = e.opts.Certs.Get(id); c != nil && c.Valid(e.opts.Now()) {
			return c, nil
		}
	}
}

func after(d time.Duration) <-chan struct{} {
	ch := make(chan struct{})
	time.AfterFunc(d, func() { close(ch) })
	return ch
}

// peer is the verified chain of a connection's other end.
type peer struct {
	chain []*x509.Certificate
	roots *x509.CertPool // that it last chained to; at the handshake
}

// trusted reports whether the peer's certificate still chains to what our own was issued with.
func (p *peer) trusted(own *identity.Cert, now time.Time) bool {
	if p.roots == own.Roots || p.roots.Equal(own.Roots) {
		return true
	}
	between := x509.NewCertPool()
	for _, c := range p.chain[1:] {
		between.AddCert(c)
	}
	leaf := p.chain[0]
	if now.After(leaf.NotAfter) { // its expiry is the sweeper's business
		now = leaf.NotAfter
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: own.Roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// leafUntil is until when a connection should be used: a tenth of the leaf's life, but not more than
// five minutes, before its end.
func leafUntil(leaf *x509.Certificate) time.Time {
	margin := min(leaf.NotAfter.Sub(leaf.NotBefore)/10, 5*time.Minute)
	return leaf.NotAfter.Add(-margin)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
