package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Caller is who presented a certificate. Node or Workload is set.
type Caller struct {
	Node     string      // a machine that joined
	Workload identity.ID // a pod, or the controller itself
	Leaf     *x509.Certificate
}

// ErrNoCertificate says that the caller presented none.
var ErrNoCertificate = errors.New("no client certificate")

// errForeign says that a certificate is of another trust domain.
var errForeign = errors.New("another trust domain")

// CallerOf returns who is behind a call. The chain was checked at the handshake (identity.NodeServerConfig).
func CallerOf(ctx context.Context, trustDomain string) (Caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Caller{}, ErrNoCertificate
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return Caller{}, ErrNoCertificate
	}
	return callerOf(info.State.PeerCertificates[0], trustDomain)
}

func callerOf(leaf *x509.Certificate, trustDomain string) (Caller, error) {
	c := Caller{Leaf: leaf}
	domain, node, err := identity.NodeName(leaf)
	if err == nil {
		c.Node = node
	} else {
		id, err := identity.PeerID(leaf)
		if err != nil {
			return Caller{}, err
		}
		c.Workload, domain = id, id.TrustDomain
	}
	if domain != trustDomain {
		return Caller{}, fmt.Errorf("%q: %w", domain, errForeign)
	}
	return c, nil
}

// URI returns the caller's SPIFFE identity.
func (c Caller) URI() string { return c.Leaf.URIs[0].String() }
