package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambitmesh/ambit/internal/identity"
	pb "github.com/ambitmesh/ambit/internal/meshpb/ca"
)

// Link is how the controller is found and known: gRPC over TLS, verified by the roots of a file.
type Link struct {
	Target     string   // host:port
	Controller []string // the SPIFFE URIs, one of which the controller has
	RootFile   string   // PEM; read for each connection, so that a rotation there is followed
	Now        func() time.Time
}

// dial goes to the controller itself, never to a proxy that the environment names.
func (l *Link) dial(conf *tls.Config, opts []grpc.DialOption) (*grpc.ClientConn, error) {
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(conf)), grpc.WithNoProxy()}, opts...)
	conn, err := grpc.NewClient("passthrough:///"+l.Target, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to controller %s: %w", l.Target, err)
	}
	return conn, nil
}

// roots is the root file and more; without a file more must do.
func (l *Link) roots(more []*x509.Certificate) (*x509.CertPool, error) {
	b, err := os.ReadFile(l.RootFile)
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

// impersonate says for whom the request is; the controller decides whether a pod of that identity runs here.
func impersonate(ctx context.Context, conn *grpc.ClientConn, uri string, csr []byte) ([]string, error) {
	return create(ctx, conn, &pb.IstioCertificateRequest{Csr: string(csr), Metadata: &structpb.Struct{
		Fields: map[string]*structpb.Value{"ImpersonatedIdentity": structpb.NewStringValue(uri)}}})
}

func create(ctx context.Context, conn *grpc.ClientConn, req *pb.IstioCertificateRequest) ([]string, error) {
	resp, err := pb.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("create certificate: %w", err)
	}
	return resp.GetCertChain(), nil
}
