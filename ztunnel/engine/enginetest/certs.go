package enginetest

import (
	"sync"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Certs gives out what is in it.
type Certs struct {
	mu    sync.Mutex
	byID  map[identity.ID]*identity.Cert
	again chan struct{}
}

// NewCerts makes an empty one.
func NewCerts() *Certs {
	return &Certs{byID: map[identity.ID]*identity.Cert{}, again: make(chan struct{})}
}

// Get returns the certificate, or what is closed when there is another to look at.
func (c *Certs) Get(id identity.ID) (*identity.Cert, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cert := c.byID[id]; cert != nil {
		return cert, nil
	}
	return nil, c.again
}

// Set replaces the certificate; nil takes it away.
func (c *Certs) Set(id identity.ID, cert *identity.Cert) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byID[id] = cert
	close(c.again)
	c.again = make(chan struct{})
}
