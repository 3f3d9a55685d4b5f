package ca

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// issuer is what signs, and what is handed out with a leaf. Immutable.
type issuer struct {
	step    Step
	own     bool // the user's: not ours to rotate
	signer  root
	between []*x509.Certificate // from the signer to the roots
	roots   []*x509.Certificate
}

// Names are what a leaf is made for.
type Names struct {
	URI string   // a SPIFFE identity
	DNS []string // of the controller itself only
	IPs []net.IP
}

func list(c *x509.Certificate) []*x509.Certificate { return []*x509.Certificate{c} }

func (i *issuer) trusts(c *x509.Certificate) bool { return slices.ContainsFunc(i.roots, c.Equal) }

// same reports whether both sign and are trusted alike.
func (i *issuer) same(o *issuer) bool {
	return i.step == o.step && i.own == o.own && i.signer.cert.Equal(o.signer.cert) &&
		slices.EqualFunc(i.between, o.between, (*x509.Certificate).Equal) && slices.EqualFunc(i.roots, o.roots, (*x509.Certificate).Equal)
}

// issue signs a leaf that begins a little before now and ends with its signer at the latest.
func (i *issuer) issue(pub any, n Names, life time.Duration, now time.Time) (*x509.Certificate, error) {
	uri, err := url.Parse(n.URI)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	from, to := i.life()
	if !now.Before(to) || now.Before(from) {
		return nil, fmt.Errorf("issue certificate for %s: the CA is valid from %s to %s only", n.URI, from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	}
	return sign(&x509.Certificate{
		SerialNumber: newSerial(), URIs: []*url.URL{uri}, DNSNames: n.DNS, IPAddresses: n.IPs,
		NotBefore: later(now.Add(-backdate), from), NotAfter: earlier(now.Add(life), to),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, i.signer.cert, pub, i.signer.key)
}

// life is when the signer and all between it and the roots are valid.
func (i *issuer) life() (from, to time.Time) {
	from, to = i.signer.cert.NotBefore, i.signer.cert.NotAfter
	for _, c := range i.between {
		if i.step != Activated { // that cross certificate is only a second way
			from, to = later(from, c.NotBefore), earlier(to, c.NotAfter)
		}
	}
	return from, to
}

// chain is a CA's answer: the leaf, what is between, and last the roots.
func (i *issuer) chain(leaf *x509.Certificate) []string {
	out := []string{identity.EncodeCerts(list(leaf))}
	for _, c := range i.between {
		out = append(out, identity.EncodeCerts(list(c)))
	}
	return append(out, i.bundle())
}

func (i *issuer) bundle() string { return identity.EncodeCerts(i.roots) }
