// Package certs keeps this node's certificates: its own, with which the proxy proves itself to the
// controller, and one for each identity that has a pod on the node. Keys are made here and live in
// memory only.
package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Provider has certificates signed. The built-in one is *CA.
type Provider interface {
	// Sign answers a request whose only name is uri: PEM elements, the leaf first, the root bundle last.
	Sign(ctx context.Context, uri string, csr []byte) (chain []string, err error)
}

// ErrAnswer says that a provider's answer is not what was asked for.
var ErrAnswer = errors.New("the answer is not the certificate that was asked for")

// signTime bounds one request.
const signTime = 10 * time.Second

// issued is a certificate with when to renew it.
type issued struct {
	*identity.Cert
	renewAt time.Time
	life    time.Duration // when it was received
}

// request makes a key, has it certified by sign and checks the answer.
func request(ctx context.Context, uri string, now func() time.Time, sign func(context.Context, []byte) ([]string, error)) (issued, error) {
	key, csr, err := identity.NewCSR(uri)
	if err != nil {
		return issued{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, signTime)
	defer cancel()
	chain, err := sign(ctx, csr)
	if err != nil {
		return issued{}, err
	}
	return accept(chain, key, uri, now())
}

// accept checks a chain against what was asked for.
func accept(chain []string, key *ecdsa.PrivateKey, uri string, now time.Time) (issued, error) {
	c, err := identity.FromPEM(chain, key)
	if err != nil {
		return issued{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if err := check(c, key, uri, now); err != nil {
		return issued{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	life := c.Leaf.NotAfter.Sub(now)
	return issued{Cert: c, life: life, renewAt: now.Add(half(life))}, nil
}

// half is half of d, give or take a tenth, so that nodes that started together do not renew together.
// What is left of the life counts, not all of it: issuers date certificates back.
func half(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.45 + 0.1*rand.Float64()))
}

func check(c *identity.Cert, key *ecdsa.PrivateKey, uri string, now time.Time) error {
	leaf := c.Leaf
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != uri || len(leaf.DNSNames)+len(leaf.EmailAddresses)+len(leaf.IPAddresses) > 0 {
		return fmt.Errorf("leaf names %v, want %s only", leaf.URIs, uri)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return errors.New("leaf is of another key")
	}
	if !c.Valid(now) {
		return fmt.Errorf("leaf is valid from %s to %s", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	between := x509.NewCertPool()
	for _, der := range c.TLS.Certificate[1:] {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(ca)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: c.Roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}
