package istio

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/meshpb/ca"
)

// node is a node that has joined the mesh, and its way to the controller.
type node struct {
	on         *lab.Node
	controller string
	cert       *identity.Cert
}

func controllers() []string { return []string{identity.Controller(trustDomain).String()} }

// join exchanges a token for a node's certificate, as ours does.
func join(ctx context.Context, l *lab.Lab, on *lab.Node) (*node, error) {
	n := &node{on: on, controller: l.ControllerAddress()}
	token, err := on.JoinToken(ctx)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(l.ControllerDir(), "root.pem"))
	if err != nil {
		return nil, fmt.Errorf("read roots: %w", err)
	}
	roots, err := identity.ParseCerts(pem)
	if err != nil {
		return nil, err
	}
	key, csr, err := identity.NewCSR(identity.NodeURI(trustDomain, on.Name))
	if err != nil {
		return nil, err
	}
	conn, err := n.grpc(identity.JoinConfig(identity.Pool(roots), controllers(), time.Now))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := ca.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx, &ca.IstioCertificateRequest{Csr: string(csr)})
	if err != nil {
		return nil, fmt.Errorf("join node %s: %w", on.Name, err)
	}
	n.cert, err = identity.FromPEM(resp.GetCertChain(), key)
	return n, err
}

// tls is how the node proves itself to the controller.
func (n *node) tls() *tls.Config {
	return identity.ClientConfig(func() (*identity.Cert, error) { return n.cert, nil }, controllers(), time.Now)
}

func (n *node) dial(ctx context.Context) (net.Conn, error) {
	return n.on.Dial(ctx, "tcp", n.controller)
}

func (n *node) grpc(conf *tls.Config) (*grpc.ClientConn, error) {
	c, err := grpc.NewClient("passthrough:///"+n.controller, grpc.WithTransportCredentials(credentials.NewTLS(conf)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return n.dial(ctx) }))
	if err != nil {
		return nil, fmt.Errorf("connect to controller: %w", err)
	}
	return c, nil
}
