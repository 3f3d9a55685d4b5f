package resume

import (
	"crypto/x509"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
)

func chainOf(c *identity.Cert) []*x509.Certificate { return []*x509.Certificate{c.Leaf} }

// withRoots is own with more roots.
func withRoots(own *identity.Cert, more *testca.CA) *identity.Cert {
	c := *own
	c.RootCerts = append([]*x509.Certificate{more.Cert}, own.RootCerts...)
	c.Roots = identity.Pool(c.RootCerts)
	return &c
}
