package server

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	capb "github.com/ambitmesh/ambit/internal/meshpb/ca"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/objects"
	client "github.com/ambitmesh/ambit/internal/xds"
)

const td = "cluster.local"

// controller is a running one, on a directory of objects.
type controller struct {
	t      testing.TB
	dir    string // has objects/ and state/
	addr   string
	mutate func(*Config)
	server *Server
	stop   func()
	ahead  atomic.Int64 // ns; how far its clock, and its callers', is before the machine's
}

func (c *controller) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// pass lets time pass.
func (c *controller) pass(d time.Duration) { c.ahead.Add(int64(d)) }

func startController(t testing.TB, mutate func(*Config)) *controller {
	t.Helper()
	// An address of the loopback device that nobody else uses: the port is free when it is started again.
	addr := fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
	c := &controller{t: t, dir: t.TempDir(), addr: addr, mutate: mutate}
	if err := os.Mkdir(filepath.Join(c.dir, "objects"), 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

// run starts the process's like: again after stop, on the same address and state.
func (c *controller) run() *controller {
	c.t.Helper()
	cfg := Config{
		Source: func(epoch uint32) objects.Source {
			return objects.NewDirectory(filepath.Join(c.dir, "objects"), objects.Options{Epoch: epoch, Settle: 10 * time.Millisecond, Rescan: 200 * time.Millisecond})
		},
		Listen: c.addr, StateDir: filepath.Join(c.dir, "state"), ServerNames: []string{"127.0.0.1", "localhost"},
		Log: slog.New(slog.NewTextHandler(c.t.Output(), nil)), Now: c.now,
		Captures: xds.CaptureOptions{StartGrace: 300 * time.Millisecond, OrphanGrace: 500 * time.Millisecond, AckWait: time.Minute},
	}
	if c.mutate != nil {
		c.mutate(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.server, c.addr = s, s.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	c.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				c.t.Errorf("controller: %v", err)
			}
		})
	}
	c.t.Cleanup(c.stop)
	return c
}

// put replaces an object file as a whole.
func (c *controller) put(name, yaml string) {
	c.t.Helper()
	path := filepath.Join(c.dir, "objects", name)
	if err := os.WriteFile(path+".tmp", []byte(yaml), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		c.t.Fatal(err)
	}
}

func (c *controller) drop(name string) {
	c.t.Helper()
	if err := os.Remove(filepath.Join(c.dir, "objects", name)); err != nil {
		c.t.Fatal(err)
	}
}

func podYAML(name, node, ip string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"` + name + `","namespace":"shop","uid":"uid-` + name + `","labels":{"app":"` + name + `"}},
"spec":{"nodeName":"` + node + `","serviceAccountName":"` + name + `","containers":[{"name":"c"}]},
"status":{"phase":"Running","podIPs":[{"ip":"` + ip + `"}],"conditions":[{"type":"Ready","status":"True"}]}}`
}

func uidOf(name string) string { return "Kubernetes//Pod/shop/" + name }

// machine is a node with its certificate and its proxy's side of xDS.
type machine struct {
	t      testing.TB
	c      *controller
	name   string
	cert   *identity.Cert
	store  *mesh.Store
	client *client.Client
	stop   func()

	mu    sync.Mutex
	plain map[string]bool
}

// join gets a node certificate with a new token.
func (c *controller) join(name string) *machine {
	c.t.Helper()
	token, err := c.server.tokens.Create(name, time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := c.ask(joinTLS(c), token, identity.NodeURI(td, name), "")
	if err != nil {
		c.t.Fatalf("join %s: %v", name, err)
	}
	return &machine{t: c.t, c: c, name: name, cert: cert, store: mesh.NewStore(mesh.Options{}), plain: map[string]bool{}}
}

func joinTLS(c *controller) credentials.TransportCredentials {
	return credentials.NewTLS(identity.JoinConfig(identity.Pool(c.server.ca.Roots()), []string{identity.Controller(td).String()}, c.now))
}

func (c *controller) certTLS(cert *identity.Cert) credentials.TransportCredentials {
	get := func() (*identity.Cert, error) { return cert, nil }
	return credentials.NewTLS(identity.ClientConfig(get, []string{identity.Controller(td).String()}, c.now))
}

// ask requests a certificate for uri.
func (c *controller) ask(creds credentials.TransportCredentials, token, uri, impersonate string) (*identity.Cert, error) {
	c.t.Helper()
	key, csr, err := identity.NewCSR(uri)
	if err != nil {
		c.t.Fatal(err)
	}
	chain, err := c.askCSR(creds, token, string(csr), impersonate)
	if err != nil {
		return nil, err
	}
	return certOf(c.t, chain, key), nil
}

func certOf(t testing.TB, chain []string, key *ecdsa.PrivateKey) *identity.Cert {
	t.Helper()
	cert, err := identity.FromPEM(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (c *controller) askCSR(creds credentials.TransportCredentials, token, csr, impersonate string) ([]string, error) {
	conn, err := grpc.NewClient(c.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	req := &capb.IstioCertificateRequest{Csr: csr}
	if impersonate != "" {
		req.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"ImpersonatedIdentity": structpb.NewStringValue(impersonate)}}
	}
	resp, err := capb.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx, req)
	return resp.GetCertChain(), err
}

// connect starts the proxy's xDS client; the store outlives it.
func (m *machine) connect() *machine {
	m.t.Helper()
	addr := m.c.addr
	cl, err := client.NewClient(client.ClientConfig{
		Dial: func(context.Context) (*grpc.ClientConn, error) {
			return grpc.NewClient(addr, append(client.DialOptions(), grpc.WithTransportCredentials(m.c.certTLS(m.cert)))...)
		},
		Node: &discovery.Node{Id: "ztunnel~127.0.0.1~" + m.name + ".ambit~ambit.svc.cluster.local"}, Store: m.store,
		OnPlain: func(uid string) { m.mu.Lock(); defer m.mu.Unlock(); m.plain[uid] = true }, MaxBackoff: 50 * time.Millisecond,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cl.Run(ctx) }()
	var once sync.Once
	m.client = cl
	m.stop = func() { once.Do(func() { cancel(); <-done }) }
	m.t.Cleanup(m.stop)
	return m
}

func (m *machine) isPlain(uid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.plain[uid]
}

func (m *machine) hbone(uid string) bool {
	w := m.store.Snapshot().Workload(uid)
	return w != nil && w.Protocol == mesh.HBONE
}

// until waits for what must come about; the limit is only for a test that fails.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in a minute: %s", what)
}
