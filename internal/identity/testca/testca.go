// Package testca issues certificates for tests: good ones, and each kind of bad one.
package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// CA is a root that exists for one test.
type CA struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	Cert *x509.Certificate
}

// Option changes a leaf before it is signed.
type Option func(*leaf)

type leaf struct {
	template   *x509.Certificate
	selfSigned bool
}

// NotBefore and NotAfter set the leaf's life.
func NotBefore(t time.Time) Option { return func(l *leaf) { l.template.NotBefore = t } }

// NotAfter sets the end of the leaf's life.
func NotAfter(t time.Time) Option { return func(l *leaf) { l.template.NotAfter = t } }

// WithLife ends the leaf's life d from now.
func WithLife(d time.Duration) Option { return NotAfter(time.Now().Add(d)) }

// SelfSigned signs the leaf with its own key.
func SelfSigned() Option { return func(l *leaf) { l.selfSigned = true } }

// WithURI adds a URI SAN.
func WithURI(uri string) Option {
	return func(l *leaf) { l.template.URIs = append(l.template.URIs, mustURL(uri)) }
}

// WithoutURIs removes every URI SAN.
func WithoutURIs() Option { return func(l *leaf) { l.template.URIs = nil } }

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		return &url.URL{Opaque: s}
	}
	return u
}

// New makes a root.
func New(t testing.TB) *CA {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	return &CA{t: t, key: key, Cert: sign(t, tmpl, tmpl, key, key)}
}

// PEM is the root with its key, as files of a certificate authority hold them.
func (ca *CA) PEM() (cert, key string) {
	ca.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return identity.EncodeCerts([]*x509.Certificate{ca.Cert}), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Issue signs a leaf for uri, valid from an hour ago for another hour unless an option says otherwise.
func (ca *CA) Issue(uri string, opts ...Option) *identity.Cert {
	ca.t.Helper()
	key := newKey(ca.t)
	l := &leaf{template: &x509.Certificate{
		SerialNumber: serial(ca.t), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{mustURL(uri)},
	}}
	for _, o := range opts {
		o(l)
	}
	parent, signer := ca.Cert, ca.key
	if l.selfSigned {
		parent, signer = l.template, key
	}
	c := sign(ca.t, l.template, parent, key, signer)
	return &identity.Cert{
		Leaf: c, RootCerts: []*x509.Certificate{ca.Cert}, Roots: identity.Pool([]*x509.Certificate{ca.Cert}),
		TLS: tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c},
	}
}

// SignCSR answers a request as a certificate authority does: the leaf, then the root bundle.
func (ca *CA) SignCSR(csrPEM []byte, opts ...Option) ([]string, error) {
	csr, uri, err := identity.ParseCSR(csrPEM)
	if err != nil {
		return nil, err
	}
	l := &leaf{template: &x509.Certificate{
		SerialNumber: serial(ca.t), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{mustURL(uri)},
	}}
	for _, o := range opts {
		o(l)
	}
	der, err := x509.CreateCertificate(rand.Reader, l.template, ca.Cert, csr.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return []string{identity.EncodeCerts([]*x509.Certificate{c}), identity.EncodeCerts([]*x509.Certificate{ca.Cert})}, nil
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sign(t testing.TB, tmpl, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
