package peers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	nearName = "near.bench.internal"
	farName  = "far.bench.internal"
)

// certs are files: a root, and for each half a chain, its key, and both in one.
type certs struct {
	root      string
	near, far leaf
}

type leaf struct{ cert, key, both string }

func makeCerts(dir string) (*certs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory for certificates: %w", err)
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make root key: %w", err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	c := &certs{root: filepath.Join(dir, "root.pem")}
	der, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("sign root: %w", err)
	}
	if err := os.WriteFile(c.root, block("CERTIFICATE", der), 0o600); err != nil {
		return nil, fmt.Errorf("keep root: %w", err)
	}
	if c.near, err = makeLeaf(dir, nearName, root, rootKey); err != nil {
		return nil, err
	}
	c.far, err = makeLeaf(dir, farName, root, rootKey)
	return c, err
}

func makeLeaf(dir, name string, root *x509.Certificate, rootKey *ecdsa.PrivateKey) (leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return leaf{}, fmt.Errorf("make key of %s: %w", name, err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return leaf{}, fmt.Errorf("choose serial number: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, root, key.Public(), rootKey)
	if err != nil {
		return leaf{}, fmt.Errorf("sign %s: %w", name, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return leaf{}, fmt.Errorf("encode key of %s: %w", name, err)
	}
	base := filepath.Join(dir, name)
	l := leaf{cert: base + ".pem", key: base + ".key", both: base + ".both"}
	certPEM, keyPEM := block("CERTIFICATE", der), block("PRIVATE KEY", private)
	for file, b := range map[string][]byte{l.cert: certPEM, l.key: keyPEM, l.both: bytes.Join([][]byte{certPEM, keyPEM}, nil)} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			return leaf{}, fmt.Errorf("keep certificate of %s: %w", name, err)
		}
	}
	return l, nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
