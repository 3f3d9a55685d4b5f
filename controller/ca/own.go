package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// loadOwn reads the user's CA; nil if there is none.
func loadOwn(dir string, now time.Time) (*issuer, error) {
	chain, err := readCerts(filepath.Join(dir, ownCert))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, ownKey))
	if err != nil {
		return nil, err
	}
	roots, err := readCerts(filepath.Join(dir, ownRoots))
	if errors.Is(err, fs.ErrNotExist) {
		roots, err = chain[len(chain)-1:], nil
	}
	if err != nil {
		return nil, err
	}
	i := &issuer{step: Steady, own: true, signer: root{chain[0], key}, roots: roots}
	for _, c := range chain {
		if !i.trusts(c) {
			i.between = append(i.between, c)
		}
	}
	if err := i.check(now); err != nil {
		return nil, fmt.Errorf("use %s: %w", filepath.Join(dir, ownCert), err)
	}
	return i, nil
}

func readCerts(path string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	certs, err := identity.ParseCerts(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return certs, nil
}

func readKey(path string) (signer, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read key %s: mode %#o lets others read it, want 0600", path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, err := decodeKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// check reports an error unless leaves of this issuer lead to its roots.
func (i *issuer) check(now time.Time) error {
	if err := fits(i.signer.cert, i.signer.key); err != nil {
		return err
	}
	opts := x509.VerifyOptions{Roots: identity.Pool(i.roots), Intermediates: identity.Pool(i.between), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := i.signer.cert.Verify(opts); err != nil {
		return fmt.Errorf("it does not lead to the roots: %w", err)
	}
	return nil
}
