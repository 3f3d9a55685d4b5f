// Package certstest is a certificate authority in the test's process, behind the same wire as the
// controller's.
package certstest

import (
	"context"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	pb "github.com/ambitmesh/ambit/internal/meshpb/ca"
)

// CA answers as the controller does, unless a test wants it otherwise.
type CA struct {
	pb.UnimplementedIstioCertificateServiceServer

	Addr     string
	RootFile string
	Server   *grpc.Server
	URI      string // the controller's

	t testing.TB

	mu     sync.Mutex
	signer *testca.CA
	bundle []*x509.Certificate
	own    *identity.Cert
	life   time.Duration
	token  string                   // the one that is good, once
	bearer string                   // of the service account whose proxy calls
	asked  []string                 // names that were asked for
	alter  func(*Answer)            // of an answer
	refuse map[string]codes.Code    // by name
	delay  map[string]chan struct{} // by name: answered when closed
}

// Answer is what a test may change.
type Answer struct {
	URI   string // that the leaf will name
	Chain []string
}

// Start serves until the test ends. register adds other services.
func Start(tb testing.TB, trustDomain string, register ...func(*grpc.Server)) *CA {
	tb.Helper()
	ca := &CA{
		t: tb, signer: testca.New(tb), life: time.Hour, token: "good", URI: identity.Controller(trustDomain).String(),
		refuse: map[string]codes.Code{}, delay: map[string]chan struct{}{}, RootFile: filepath.Join(tb.TempDir(), "root.pem"),
	}
	ca.bundle = []*x509.Certificate{ca.signer.Cert}
	ca.own = ca.signer.Issue(ca.URI)
	ca.writeRoots()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ca.Addr = l.Addr().String()
	get := func() (*identity.Cert, error) {
		ca.mu.Lock()
		defer ca.mu.Unlock()
		own := *ca.own
		own.Roots = identity.Pool(ca.bundle)
		return &own, nil
	}
	ca.Server = grpc.NewServer(grpc.Creds(credentials.NewTLS(identity.NodeServerConfig(get, time.Now))))
	pb.RegisterIstioCertificateServiceServer(ca.Server, ca)
	for _, f := range register {
		f(ca.Server)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = ca.Server.Serve(l) }()
	tb.Cleanup(func() { ca.Server.Stop(); <-done })
	return ca
}

func (ca *CA) writeRoots() {
	if err := os.WriteFile(ca.RootFile, []byte(identity.EncodeCerts(ca.bundle)), 0o600); err != nil {
		ca.t.Fatal(err)
	}
}

// Set changes something under the lock.
func (ca *CA) set(f func()) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	f()
}

// SetLife is of the leaves from now on.
func (ca *CA) SetLife(d time.Duration) { ca.set(func() { ca.life = d }) }

// SetToken is what admits a node from now on, once.
func (ca *CA) SetToken(s string) { ca.set(func() { ca.token = s }) }

// SetBearer is the token of a service account by which a proxy is known from now on.
func (ca *CA) SetBearer(s string) { ca.set(func() { ca.bearer = s }) }

// Refuse answers requests for uri with a code; OK takes that back.
func (ca *CA) Refuse(uri string, c codes.Code) { ca.set(func() { ca.refuse[uri] = c }) }

// Hold answers requests for uri only once the channel is closed.
func (ca *CA) Hold(uri string, until chan struct{}) { ca.set(func() { ca.delay[uri] = until }) }

// Alter changes answers from now on; nil stops that.
func (ca *CA) Alter(f func(*Answer)) { ca.set(func() { ca.alter = f }) }

// Asked is every name that was asked for, in order.
func (ca *CA) Asked() []string {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return append([]string(nil), ca.asked...)
}

// Count is how often uri was asked for.
func (ca *CA) Count(uri string) (n int) {
	for _, s := range ca.Asked() {
		if s == uri {
			n++
		}
	}
	return n
}

// Rotate adds a root to the bundle and signs with it from now on; the old one stays trusted.
func (ca *CA) Rotate() {
	next := testca.New(ca.t)
	ca.set(func() {
		ca.signer = next
		ca.bundle = append([]*x509.Certificate{next.Cert}, ca.bundle...)
	})
}

// Retire drops all roots but the newest, also from the file, and takes a certificate of that one.
func (ca *CA) Retire() {
	ca.set(func() {
		ca.bundle = ca.bundle[:1]
		ca.own = ca.signer.Issue(ca.URI)
		ca.writeRoots()
	})
}

// CreateCertificate implements the service.
func (ca *CA) CreateCertificate(ctx context.Context, req *pb.IstioCertificateRequest) (*pb.IstioCertificateResponse, error) {
	_, uri, err := identity.ParseCSR([]byte(req.GetCsr()))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	ca.mu.Lock()
	ca.asked = append(ca.asked, uri)
	wait := ca.delay[uri]
	ca.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if c := ca.refuse[uri]; c != codes.OK {
		return nil, status.Error(c, "the test says no")
	}
	if err := ca.judge(ctx, uri, req); err != nil {
		return nil, err
	}
	chain, err := ca.signer.SignCSR([]byte(req.GetCsr()), testca.WithLife(ca.life))
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	a := &Answer{URI: uri, Chain: []string{chain[0], identity.EncodeCerts(ca.bundle)}}
	if ca.alter != nil {
		ca.alter(a)
	}
	return &pb.IstioCertificateResponse{CertChain: a.Chain}, nil
}

// judge is the controller's rule: a token admits a node, a node speaks for itself and for pods that it
// names as impersonated.
func (ca *CA) judge(ctx context.Context, uri string, req *pb.IstioCertificateRequest) error {
	p, _ := peer.FromContext(ctx)
	tls, _ := p.AuthInfo.(credentials.TLSInfo)
	_, _, nodeErr := identity.ParseNodeURI(uri)
	if len(tls.State.PeerCertificates) == 0 {
		md, _ := metadata.FromIncomingContext(ctx)
		got := strings.Join(md.Get("authorization"), ",")
		if ca.bearer != "" && got == "Bearer "+ca.bearer && as(req) == uri {
			return nil
		}
		if nodeErr != nil || ca.token == "" || got != "Bearer "+ca.token {
			return status.Error(codes.Unauthenticated, "bad token")
		}
		ca.token = ""
		return nil
	}
	leaf := tls.State.PeerCertificates[0]
	caller := leaf.URIs[0].String()
	if time.Now().After(leaf.NotAfter) {
		return status.Error(codes.Unauthenticated, "expired")
	}
	if caller != uri && as(req) != uri {
		return status.Error(codes.PermissionDenied, "not the caller's")
	}
	return nil
}

func as(req *pb.IstioCertificateRequest) string {
	return req.GetMetadata().GetFields()["ImpersonatedIdentity"].GetStringValue()
}
