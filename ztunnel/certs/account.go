package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Account is the way to the controller of a proxy that has a service account: it proves itself on each
// call by the account's projected token, and needs no certificate of its own. It implements Provider.
type Account struct {
	Link

	TokenFile string // read for each call: the kubelet replaces it
	ClusterID string
	// ServerName is the DNS name in the certificate of a control plane that has no SPIFFE identity;
	// "" for the mesh's own controller.
	ServerName string
}

// Dial prepares a connection with the roots as they are now.
func (a *Account) Dial(opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	roots, err := a.roots(nil)
	if err != nil {
		return nil, err
	}
	conf := identity.JoinConfig(roots, a.Controller, a.Now)
	if a.ServerName != "" {
		conf = &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, RootCAs: roots, ServerName: a.ServerName, Time: a.Now}
	}
	return a.dial(conf, append(opts, grpc.WithPerRPCCredentials(a)))
}

// Sign implements Provider.
func (a *Account) Sign(ctx context.Context, uri string, csr []byte) ([]string, error) {
	conn, err := a.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return impersonate(ctx, conn, uri, csr)
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (a *Account) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := readToken(a.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("token of the service account: %w", err)
	}
	return map[string]string{"authorization": "Bearer " + token, "clusterid": a.ClusterID}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: a token is for the controller alone.
func (a *Account) RequireTransportSecurity() bool { return true }

// ErrNoToken says that there is no token to show.
var ErrNoToken = errors.New("no token")
