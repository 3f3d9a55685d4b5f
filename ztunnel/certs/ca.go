package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambitmesh/ambit/internal/identity"
	pb "github.com/ambitmesh/ambit/internal/meshpb/ca"
)

// ErrNotJoined says that this node has no certificate of its own, so nothing can be asked for.
var ErrNotJoined = errors.New("this node has not joined the mesh")

// CA is the way to the controller: gRPC over TLS, which the controller proves by the root file or by
// what the node's certificate came with, and this node by its certificate.
type CA struct {
	Target     string   // host:port
	Controller []string // the SPIFFE URIs, one of which the controller has
	RootFile   string   // PEM; read for each connection, so that a rotation there is followed
	NodeURI    string   // spiffe://<trust domain>/node/<name>
	Node       func() *identity.Cert
	Now        func() time.Time
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

// dial goes to the controller itself, never to a proxy that the environment names.
func (c *CA) dial(conf *tls.Config, opts []grpc.DialOption) (*grpc.ClientConn, error) {
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(conf)), grpc.WithNoProxy()}, opts...)
	conn, err := grpc.NewClient("passthrough:///"+c.Target, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to controller %s: %w", c.Target, err)
	}
	return conn, nil
}

// roots is the root file and more; without a file more must do.
func (c *CA) roots(more []*x509.Certificate) (*x509.CertPool, error) {
	b, err := os.ReadFile(c.RootFile)
	if err == nil {
		var certs []*x509.Certificate
		if certs, err = identity.ParseCerts(b); err == nil {
			return identity.Pool(append(certs, more...)), nil
		}
	}
	if len(more) > 0 {
		return identity.Pool(more), nil
	}
	return nil, fmt.Errorf("roots of the controller: %w", err)
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
	req := &pb.IstioCertificateRequest{Csr: string(csr)}
	if uri != c.NodeURI {
		req.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"ImpersonatedIdentity": structpb.NewStringValue(uri)}}
	}
	return create(ctx, conn, req)
}

func create(ctx context.Context, conn *grpc.ClientConn, req *pb.IstioCertificateRequest) ([]string, error) {
	resp, err := pb.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("create certificate: %w", err)
	}
	return resp.GetCertChain(), nil
}
