package certs

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/ztunnel/certs/certstest"
)

const td = "cluster.local"

func idOf(account string) identity.ID {
	return identity.ID{TrustDomain: td, Namespace: "shop", ServiceAccount: account}
}

var nodeURI = identity.NodeURI(td, "n1")

// fixture is a node's certificates under test.
type fixture struct {
	*Manager
	node  *Node
	ca    *certstest.CA
	token string

	mu     sync.Mutex
	roots  int
	expiry map[string]time.Time
	skew   time.Duration
	stop   func()
}

func (x *fixture) now() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return time.Now().Add(x.skew)
}

func (x *fixture) rootsChanged() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.roots
}

func linkTo(ca *certstest.CA, now func() time.Time) Link {
	return Link{Target: ca.Addr, Controller: []string{ca.URI}, RootFile: ca.RootFile, Now: now}
}

// build makes a manager that talks to ca and does not run yet.
func build(t *testing.T, ca *certstest.CA) *fixture {
	t.Helper()
	x := &fixture{ca: ca, token: filepath.Join(t.TempDir(), "token"), expiry: map[string]time.Time{}}
	if err := os.WriteFile(x.token, []byte("good\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	client := &CA{Link: linkTo(ca, x.now), NodeURI: nodeURI}
	x.node = NewNode(nodeURI, x.token, client, x.now, log)
	client.Node = x.node.Cert
	reg := prometheus.NewPedanticRegistry()
	m, err := New(Config{
		Provider: client, Node: x.node, Now: x.now, Log: log, Registerer: reg,
		OnRoots: func() { x.mu.Lock(); x.roots++; x.mu.Unlock() },
		Expiry:  func(uri string, at time.Time) { x.mu.Lock(); x.expiry[uri] = at; x.mu.Unlock() },
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Manager = m
	t.Cleanup(func() {
		if _, err := reg.Gather(); err != nil {
			t.Errorf("metrics: %v", err)
		}
		m.Close()
	})
	return x
}

func (x *fixture) start(t *testing.T) *fixture {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { x.node.Run(ctx) })
	wg.Go(func() { x.Run(ctx) })
	x.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(x.stop)
	return x
}

// begin starts one that has nothing to inherit.
func begin(t *testing.T, ca *certstest.CA) *fixture {
	t.Helper()
	x := build(t, ca)
	if _, err := x.Inherit(nil); err != nil {
		t.Fatal(err)
	}
	return x.start(t)
}

// await waits for a certificate that is good now.
func (x *fixture) await(t *testing.T, id identity.ID) *identity.Cert {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		c, ready := x.Get(id)
		if c != nil {
			if c.Leaf.URIs[0].String() != id.String() || !c.Valid(x.now()) {
				t.Fatalf("got %v for %s", c.Leaf.URIs, id)
			}
			return c
		}
		select {
		case <-ready:
		case <-deadline:
			t.Fatalf("no certificate of %s: %+v", id, x.List())
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}
