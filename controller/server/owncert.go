package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/controller/ca"
	"github.com/ambitmesh/ambit/internal/identity"
)

// ownCert is the controller's own certificate, made anew at half of its life and when the roots change.
type ownCert struct {
	ca    *ca.CA
	names ca.Names
	now   func() time.Time

	mu    sync.Mutex
	cert  *identity.Cert
	epoch uint64
}

// get is called at each handshake.
func (o *ownCert) get() (*identity.Cert, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	epoch := o.ca.Epoch()
	if o.cert != nil && o.epoch == epoch && o.now().Before(o.cert.RenewAt()) {
		return o.cert, nil
	}
	next, err := o.issue()
	if err != nil {
		return nil, err
	}
	o.cert, o.epoch = next, epoch
	return next, nil
}

func (o *ownCert) issue() (*identity.Cert, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make own key: %w", err)
	}
	chain, _, err := o.ca.Issue(key.Public(), o.names, 0)
	if err != nil {
		return nil, fmt.Errorf("own certificate: %w", err)
	}
	return identity.FromPEM(chain, key)
}
