package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

const (
	rootLife = 10 * 365 * 24 * time.Hour
	backdate = time.Minute // for clocks that are behind
)

// root is a self-signed certificate with its key.
type root struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newRoot(trustDomain string, now time.Time) (root, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return root{}, fmt.Errorf("make root key: %w", err)
	}
	serial := newSerial()
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		// A name of its own, so that chains are told apart.
		Subject:   pkix.Name{Organization: []string{trustDomain}, CommonName: "ambit root " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(rootLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := sign(tmpl, tmpl, key.Public(), key)
	return root{cert: cert, key: key}, err
}

// certify signs another root's name and key with this one.
func (r root) certify(other *x509.Certificate) (*x509.Certificate, error) {
	return sign(&x509.Certificate{
		SerialNumber: newSerial(), Subject: other.Subject, SubjectKeyId: other.SubjectKeyId,
		NotBefore: later(other.NotBefore, r.cert.NotBefore), NotAfter: earlier(other.NotAfter, r.cert.NotAfter),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}, r.cert, other.PublicKey, r.key)
}

func sign(tmpl, parent *x509.Certificate, pub any, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// newSerial returns 127 random bits; the top one is set, so that the length is known.
func newSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func encodeKey(key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encode key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// decodeKey reads PKCS #8, PKCS #1 or SEC 1.
func decodeKey(b []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("read key: not PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("read key: block %q", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read key: a %T cannot sign", key)
	}
	return s, nil
}

// fits reports an error unless cert may sign leaves with key.
func fits(cert *x509.Certificate, key crypto.Signer) error {
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !pub.Equal(cert.PublicKey):
		return errors.New("the key is not the certificate's")
	case !cert.IsCA:
		return errors.New("the certificate is no CA's")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("the certificate may not sign others")
	}
	return nil
}

func decodeRoot(certPEM, keyPEM string) (root, error) {
	certs, err := identity.ParseCerts([]byte(certPEM))
	if err != nil {
		return root{}, err
	}
	key, err := decodeKey([]byte(keyPEM))
	if err != nil {
		return root{}, err
	}
	return root{cert: certs[0], key: key}, fits(certs[0], key)
}
