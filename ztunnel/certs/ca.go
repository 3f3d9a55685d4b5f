package certs

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/ambitmesh/ambit/internal/identity"
	pb "github.com/ambitmesh/ambit/internal/meshpb/ca"
)

// ErrNotJoined says that this node has no certificate of its own, so nothing can be asked for.
var ErrNotJoined = errors.New("this node has not joined the mesh")

// CA is the way to the controller of a node that has joined: it proves itself by its certificate.
type CA struct {
	Link

	NodeURI string // spiffe://<trust domain>/node/<name>
	Node    func() *identity.Cert
}

// Dial prepares a connection with the node's certificate as it is now.
func (c *CA) Dial(opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	own := c.Node()
	if own == nil || !own.Valid(c.Now()) {
		return nil, ErrNotJoined
	}
	roots, err := c.roots(own.RootCerts)
	if err != nil {
		return nil, err
	}
	trusting := *own
	trusting.Roots = roots
	get := func() (*identity.Cert, error) { return &trusting, nil }
	return c.dial(identity.ClientConfig(get, c.Controller, c.Now), opts)
}

// Join exchanges a token for the node's first certificate.
func (c *CA) Join(ctx context.Context, token string, csr []byte) ([]string, error) {
	roots, err := c.roots(nil)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(identity.JoinConfig(roots, c.Controller, c.Now), nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	return create(ctx, conn, &pb.IstioCertificateRequest{Csr: string(csr)})
}

// Sign implements Provider. For a name that is not the node's own it says so, and the controller
// decides whether a pod of that identity runs here.
func (c *CA) Sign(ctx context.Context, uri string, csr []byte) ([]string, error) {
	conn, err := c.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if uri == c.NodeURI {
		return create(ctx, conn, &pb.IstioCertificateRequest{Csr: string(csr)})
	}
	return impersonate(ctx, conn, uri, csr)
}
