// Package pki makes the keys, certificates and kubeconfigs of a test cluster.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const life = 30 * 24 * time.Hour // no cluster of a test lives longer

// CA signs certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Who is what a certificate says.
type Who struct {
	Name  string   // common name: the user
	Group string   // organization: the user's group, or ""
	Hosts []string // DNS names and addresses of a server
}

// New makes a CA and writes <name>.crt and <name>.key into dir.
func New(dir, name string) (*CA, error) {
	key, err := NewKey(dir, name)
	if err != nil {
		return nil, err
	}
	t := template(Who{Name: name})
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make CA %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read CA %s: %w", name, err)
	}
	return &CA{cert, key}, writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", der)
}

// Issue writes <name>.crt and <name>.key into dir.
func (c *CA) Issue(dir, name string, who Who) error {
	key, err := NewKey(dir, name)
	if err != nil {
		return err
	}
	t := template(who)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, c.cert, key.Public(), c.key)
	if err != nil {
		return fmt.Errorf("issue %s: %w", name, err)
	}
	return writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", der)
}

// Kubeconfig writes <name>.kubeconfig for the certificate of that name.
func Kubeconfig(dir, name, server string) error {
	var b [3]string
	for i, f := range []string{"ca.crt", name + ".crt", name + ".key"} {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return fmt.Errorf("read for kubeconfig: %w", err)
		}
		b[i] = base64.StdEncoding.EncodeToString(data)
	}
	const format = `apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "%s", certificate-authority-data: "%s"}}]
users: [{name: me, user: {client-certificate-data: "%s", client-key-data: "%s"}}]
contexts: [{name: test, context: {cluster: test, user: me}}]
current-context: test
`
	text := fmt.Sprintf(format, server, b[0], b[1], b[2])
	return os.WriteFile(filepath.Join(dir, name+".kubeconfig"), []byte(text), 0o600)
}

// NewKey writes a P-256 key: <name>.key, and <name>.pub for those who only verify.
func NewKey(dir, name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key %s: %w", name, err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key %s: %w", name, err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode public key %s: %w", name, err)
	}
	if err := writePEM(filepath.Join(dir, name+".pub"), "PUBLIC KEY", pub); err != nil {
		return nil, err
	}
	return key, writePEM(filepath.Join(dir, name+".key"), "EC PRIVATE KEY", der)
}

func template(who Who) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // rand.Reader never fails
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: who.Name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if who.Group != "" {
		t.Subject.Organization = []string{who.Group}
	}
	for _, h := range who.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
