package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambitmesh/ambit/controller/auth"
	"github.com/ambitmesh/ambit/controller/join"
	"github.com/ambitmesh/ambit/internal/identity"
	pb "github.com/ambitmesh/ambit/internal/meshpb/ca"
)

const td = "cluster.local"

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now().Truncate(time.Second)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// pods is who runs where: "node identity".
type pods struct {
	mu  sync.Mutex
	all map[string]bool
}

func (p *pods) set(node, uri string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[node+" "+uri] = true
}

func (p *pods) Runs(node string, id identity.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[node+" "+id.String()]
}

// world is a service with a CA of its own.
type world struct {
	t       testing.TB
	dir     string
	clock   *clock
	ca      *CA
	tokens  *join.Store
	pods    *pods
	service *Service
}

func openCA(t testing.TB, dir string, clk *clock, life time.Duration) *CA {
	t.Helper()
	c, err := Open(Options{Dir: dir, TrustDomain: td, LeafLife: life, Now: clk.now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newWorld(t testing.TB, mutate func(*ServiceConfig)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: newClock(), pods: &pods{all: map[string]bool{}}}
	w.ca, w.tokens = openCA(t, w.dir, w.clock, time.Hour), join.Open(w.dir, w.clock.now)
	cfg := ServiceConfig{CA: w.ca, Tokens: w.tokens, Pods: w.pods, TrustDomain: td,
		Callers: &auth.Authenticator{TrustDomain: td, Now: w.clock.now}, Now: w.clock.now, PodWait: 20 * time.Millisecond}
	if mutate != nil {
		mutate(&cfg)
	}
	var err error
	if w.service, err = NewService(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// caller is a context as gRPC makes it after a handshake.
func caller(leaf *x509.Certificate, token string) context.Context {
	info := credentials.TLSInfo{}
	if leaf != nil {
		info.State = tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	}
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, AuthInfo: info})
	if token != "" {
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
	}
	return ctx
}

// leaf issues a certificate as of earlier.
func (w *world) leaf(uri string) *x509.Certificate {
	w.t.Helper()
	key, _, err := identity.NewCSR(uri)
	if err != nil {
		w.t.Fatal(err)
	}
	_, leaf, err := w.ca.Issue(key.Public(), Names{URI: uri}, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return leaf
}

func request1(csr, impersonate string) *pb.IstioCertificateRequest {
	req := &pb.IstioCertificateRequest{Csr: csr}
	if impersonate != "" {
		req.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{impersonated: structpb.NewStringValue(impersonate)}}
	}
	return req
}

// ask requests a certificate for uri.
func (w *world) ask(ctx context.Context, uri, impersonate string) (*identity.Cert, error) {
	w.t.Helper()
	key, csr, err := identity.NewCSR(uri)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := w.service.CreateCertificate(ctx, request1(string(csr), impersonate))
	if err != nil {
		return nil, err
	}
	return certOf(w.t, resp.GetCertChain(), key), nil
}

func certOf(t testing.TB, chain []string, key *ecdsa.PrivateKey) *identity.Cert {
	t.Helper()
	c, err := identity.FromPEM(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// verify checks a chain as a peer does that knows only those roots.
func verify(c *identity.Cert, roots []*x509.Certificate, now time.Time) error {
	between := x509.NewCertPool()
	for _, der := range c.TLS.Certificate[1:] {
		b, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(b)
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: identity.Pool(roots), Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}})
	return err
}

func write(t testing.TB, dir, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}
