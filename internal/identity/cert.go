package identity

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// maxRoots bounds the trust bundle that is accepted from a controller.
const maxRoots = 64

// Cert is a leaf with its key and what it was issued with. Immutable.
type Cert struct {
	Leaf      *x509.Certificate
	TLS       tls.Certificate
	Roots     *x509.CertPool
	RootCerts []*x509.Certificate
}

// ErrBadChain is wrapped by FromPEM.
var ErrBadChain = errors.New("bad certificate chain")

// FromPEM builds a Cert from a CA's answer: chain holds PEM elements, the leaf first and the root
// bundle last. key is kept.
func FromPEM(chain []string, key any) (*Cert, error) {
	if len(chain) < 2 {
		return nil, fmt.Errorf("read chain of %d elements: want the leaf and the roots: %w", len(chain), ErrBadChain)
	}
	var der [][]byte
	var leaf *x509.Certificate
	for _, e := range chain[:len(chain)-1] {
		certs, err := ParseCerts([]byte(e))
		if err != nil {
			return nil, err
		}
		for _, c := range certs {
			if leaf == nil {
				leaf = c
			}
			der = append(der, c.Raw)
		}
	}
	roots, err := ParseCerts([]byte(chain[len(chain)-1]))
	if err != nil {
		return nil, err
	}
	c := &Cert{Leaf: leaf, RootCerts: roots, Roots: Pool(roots)}
	c.TLS = tls.Certificate{Certificate: der, PrivateKey: key, Leaf: leaf}
	return c, nil
}

// ParseCerts reads at least one and at most 64 PEM certificates; anything else in b is an error.
func ParseCerts(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(b) > 0 {
		block, rest := pem.Decode(b)
		if block == nil {
			if len(out) > 0 && len(trimSpace(b)) == 0 {
				break
			}
			return nil, fmt.Errorf("read PEM: no certificate block: %w", ErrBadChain)
		}
		if block.Type != "CERTIFICATE" || len(out) == maxRoots {
			return nil, fmt.Errorf("read PEM: block %q after %d certificates: %w", block.Type, len(out), ErrBadChain)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read PEM: %w: %w", ErrBadChain, err)
		}
		out, b = append(out, c), rest
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read PEM: empty: %w", ErrBadChain)
	}
	return out, nil
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\n' || b[0] == '\r' || b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// Pool returns a pool of certs.
func Pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// EncodeCerts writes certs as PEM.
func EncodeCerts(certs []*x509.Certificate) string {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(out)
}

// Valid reports whether the leaf is within its life at t.
func (c *Cert) Valid(t time.Time) bool {
	return !t.Before(c.Leaf.NotBefore) && !t.After(c.Leaf.NotAfter)
}

// RenewAt is when to ask for a successor: at half of the leaf's life.
func (c *Cert) RenewAt() time.Time {
	return c.Leaf.NotBefore.Add(c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 2)
}
