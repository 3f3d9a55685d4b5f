package ca

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// readOwn reads the user's CA; nil if there is none.
func readOwn(files map[string][]byte, now time.Time) (*issuer, error) {
	if files[OwnCert] == nil {
		return nil, nil
	}
	chain, err := identity.ParseCerts(files[OwnCert])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", OwnCert, err)
	}
	key, err := decodeKey(files[OwnKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", OwnKey, err)
	}
	roots := chain[len(chain)-1:]
	if files[OwnRoots] != nil {
		if roots, err = identity.ParseCerts(files[OwnRoots]); err != nil {
			return nil, fmt.Errorf("%s: %w", OwnRoots, err)
		}
	}
	i := &issuer{step: Steady, own: true, signer: root{chain[0], key}, roots: roots}
	for _, c := range chain {
		if !i.trusts(c) {
			i.between = append(i.between, c)
		}
	}
	if err := i.check(now); err != nil {
		return nil, fmt.Errorf("use %s: %w", OwnCert, err)
	}
	return i, nil
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
