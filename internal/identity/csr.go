package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
)

// maxCSR bounds a certificate request, in bytes of PEM.
const maxCSR = 16 << 10

// ErrBadCSR is wrapped by ParseCSR.
var ErrBadCSR = errors.New("bad certificate request")

// NewCSR makes a P-256 key and a request for uri, which is its only name.
func NewCSR(uri string) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	csr, err := SignCSR(key, uri)
	return key, csr, err
}

// SignCSR makes a request for uri with a key that exists.
func SignCSR(key *ecdsa.PrivateKey, uri string) ([]byte, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("parse identity: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{u}}, key)
	if err != nil {
		return nil, fmt.Errorf("make request for %s: %w", uri, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// ParseCSR reads a request and checks its signature. It must name exactly one URI and nothing else, and
// hold a P-256 or P-384 key: what is signed is what was judged.
func ParseCSR(b []byte) (*x509.CertificateRequest, string, error) {
	if len(b) > maxCSR {
		return nil, "", fmt.Errorf("read request: %d bytes, limit %d: %w", len(b), maxCSR, ErrBadCSR)
	}
	block, rest := pem.Decode(b)
	if block == nil || len(trimSpace(rest)) > 0 {
		return nil, "", fmt.Errorf("read request: not one PEM block: %w", ErrBadCSR)
	}
	if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return nil, "", fmt.Errorf("read request: block %q: %w", block.Type, ErrBadCSR)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, "", fmt.Errorf("read request: %w: %w", ErrBadCSR, err)
	}
	uri, err := checkCSR(csr)
	return csr, uri, err
}

func checkCSR(csr *x509.CertificateRequest) (string, error) {
	if err := csr.CheckSignature(); err != nil {
		return "", fmt.Errorf("check request's signature: %w: %w", ErrBadCSR, err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || (key.Curve != elliptic.P256() && key.Curve != elliptic.P384()) {
		return "", fmt.Errorf("check request: key is not ECDSA P-256 or P-384: %w", ErrBadCSR)
	}
	if len(csr.URIs) != 1 || len(csr.DNSNames)+len(csr.EmailAddresses)+len(csr.IPAddresses) > 0 {
		return "", fmt.Errorf("check request: %d URIs, %d other names; want one URI only: %w", len(csr.URIs), len(csr.DNSNames)+len(csr.EmailAddresses)+len(csr.IPAddresses), ErrBadCSR)
	}
	return csr.URIs[0].String(), nil
}
