package netns

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/lab"
	pb "github.com/ambitmesh/ambit/internal/meshpb/ca"
)

// TestStolenNode asks the controller for identities with one node's token and certificate.
func TestStolenNode(t *testing.T) {
	s := newShop(t, lab.Options{})
	b, err := s.Node("node-a").JoinToken(ctx(t))
	must(t, err)
	token := strings.TrimSpace(string(b))
	me := identity.NodeURI("cluster.local", "node-a")

	t.Run("another node's name", func(t *testing.T) {
		_, err := s.ask(t, nil, token, identity.NodeURI("cluster.local", "node-b"), "")
		mustCode(t, err, codes.PermissionDenied, codes.Unauthenticated)
	})
	t.Run("a pod's identity by token", func(t *testing.T) {
		_, err := s.ask(t, nil, token, s.near.Identity(), "")
		mustCode(t, err, codes.PermissionDenied, codes.Unauthenticated)
	})
	t.Run("no token", func(t *testing.T) {
		_, err := s.ask(t, nil, "", me, "")
		mustCode(t, err, codes.PermissionDenied, codes.Unauthenticated)
	})
	b, err = s.Node("node-a").JoinToken(ctx(t))
	must(t, err)
	token = strings.TrimSpace(string(b))
	node, err := s.ask(t, nil, token, me, "")
	must(t, err)
	t.Run("a token twice", func(t *testing.T) {
		_, err := s.ask(t, nil, token, me, "")
		mustCode(t, err, codes.PermissionDenied, codes.Unauthenticated)
	})
	near, err := s.ask(t, node, "", s.near.Identity(), s.near.Identity())
	must(t, err)
	for name, uri := range map[string]string{
		"a pod of another node": s.far.Identity(), "another node": identity.NodeURI("cluster.local", "node-b"),
		"nobody's": "spiffe://cluster.local/ns/shop/sa/nobody", "another domain's": "spiffe://elsewhere.local/ns/shop/sa/near",
	} {
		t.Run("with the node's certificate for "+name, func(t *testing.T) {
			_, err := s.ask(t, node, "", uri, uri)
			mustCode(t, err, codes.PermissionDenied, codes.InvalidArgument)
		})
	}
	t.Run("with a pod's certificate for its neighbour", func(t *testing.T) {
		_, err := s.ask(t, near, "", s.client.Identity(), s.client.Identity())
		if err == nil {
			t.Error("a pod got its neighbour's certificate")
		}
	})
}

func mustCode(t *testing.T, err error, want ...codes.Code) {
	t.Helper()
	for _, c := range want {
		if status.Code(err) == c {
			return
		}
	}
	t.Errorf("answer %v, want one of %v", err, want)
}

// ask asks for a certificate as the holder of cert, or with a token if cert is nil.
func (s *shop) ask(t *testing.T, cert *identity.Cert, token, uri, impersonate string) (*identity.Cert, error) {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.ControllerDir(), "root.pem"))
	must(t, err)
	roots, err := identity.ParseCerts(pem)
	must(t, err)
	controller := []string{identity.Controller("cluster.local").String()}
	var conf *tls.Config
	if cert == nil {
		conf = identity.JoinConfig(identity.Pool(roots), controller, time.Now)
	} else {
		conf = identity.ClientConfig(func() (*identity.Cert, error) { return cert, nil }, controller, time.Now)
	}
	dial := func(c context.Context, addr string) (net.Conn, error) { return s.Node("node-a").Dial(c, "tcp", addr) }
	conn, err := grpc.NewClient("passthrough:///"+s.ControllerAddress(), grpc.WithTransportCredentials(credentials.NewTLS(conf)),
		grpc.WithContextDialer(dial), grpc.WithNoProxy())
	must(t, err)
	defer conn.Close()
	key, csr, err := identity.NewCSR(uri)
	must(t, err)
	req := &pb.IstioCertificateRequest{Csr: string(csr)}
	if impersonate != "" {
		req.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"ImpersonatedIdentity": structpb.NewStringValue(impersonate)}}
	}
	c := ctx(t)
	if token != "" {
		c = metadata.AppendToOutgoingContext(c, "authorization", "Bearer "+token)
	}
	resp, err := pb.NewIstioCertificateServiceClient(conn).CreateCertificate(c, req)
	if err != nil {
		return nil, err
	}
	return identity.FromPEM(resp.GetCertChain(), key)
}
