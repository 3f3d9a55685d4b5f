package server

import (
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/identity"
)

func shop(account string) string {
	return identity.ID{TrustDomain: td, Namespace: "shop", ServiceAccount: account}.String()
}

func TestCertificatesOverTheWire(t *testing.T) {
	c := startController(t, nil)
	c.put("web.yaml", podYAML("web", "n1", "10.0.0.1"))
	c.put("orders.yaml", podYAML("orders", "n2", "10.0.0.2"))
	c.put("done.yaml", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"done","namespace":"shop"},"spec":{"nodeName":"n1","serviceAccountName":"done","containers":[{"name":"c"}]},"status":{"phase":"Failed","podIPs":[{"ip":"10.0.0.3"}]}}`)
	c.run()
	m := c.join("n1")
	until(t, "read", c.server.cache.Ready)
	web, err := c.ask(c.certTLS(m.cert), "", shop("web"), shop("web"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ask(c.certTLS(m.cert), "", identity.NodeURI(td, "n1"), ""); err != nil {
		t.Errorf("a node renews: %v", err)
	}
	if _, err := c.ask(c.certTLS(web), "", shop("web"), ""); err != nil {
		t.Errorf("a pod renews: %v", err)
	}
	for _, tc := range []struct {
		name string
		with *identity.Cert
		uri  string
	}{
		{"a node for a pod elsewhere", m.cert, shop("orders")}, {"a node for a pod that failed", m.cert, shop("done")},
		{"a pod for its neighbour", web, shop("orders")}, {"a pod for its node", web, identity.NodeURI(td, "n1")},
	} {
		if _, err := c.ask(c.certTLS(tc.with), "", tc.uri, tc.uri); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := c.ask(joinTLS(c), "", shop("web"), ""); status.Code(err) != codes.Unauthenticated {
		t.Errorf("nobody: %v", err)
	}
}

func TestPodsDoNotGetTheConfiguration(t *testing.T) {
	c := startController(t, nil)
	c.put("web.yaml", podYAML("web", "n1", "10.0.0.1"))
	c.run()
	m := c.join("n1")
	until(t, "read", c.server.cache.Ready)
	web, err := c.ask(c.certTLS(m.cert), "", shop("web"), shop("web"))
	if err != nil {
		t.Fatal(err)
	}
	m.cert = web
	m.connect()
	until(t, "refused", func() bool { return m.client.Status().LastError != "" })
	if m.store.Snapshot().Synced() {
		t.Error("a pod was given the configuration")
	}
}

func TestForeignAndExpiredCertificatesDoNotGetIn(t *testing.T) {
	c := startController(t, func(cfg *Config) { cfg.LeafLife = time.Hour }).run()
	m := c.join("n1")
	c.pass(61 * time.Minute)
	if _, err := c.ask(c.certTLS(m.cert), "", identity.NodeURI(td, "n1"), ""); status.Code(err) != codes.Unavailable {
		t.Errorf("expired: %v", err)
	}
	stranger := startController(t, nil).run().join("n1")
	stranger.cert = &identity.Cert{Leaf: stranger.cert.Leaf, TLS: stranger.cert.TLS, Roots: identity.Pool(c.server.ca.Roots())}
	if _, err := c.ask(c.certTLS(stranger.cert), "", identity.NodeURI(td, "n1"), ""); status.Code(err) != codes.Unavailable {
		t.Errorf("of another CA: %v", err)
	}
}

// renewing is a machine that renews its certificate at every use.
type renewing struct {
	*machine
	mu sync.Mutex
}

func (r *renewing) renew() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	cert, err := r.c.ask(r.c.certTLS(r.cert), "", identity.NodeURI(td, r.name), "")
	if err != nil {
		r.t.Errorf("renew: %v", err)
		return
	}
	r.cert = cert
}

func TestRotationUnderARunningMesh(t *testing.T) {
	c := startController(t, func(cfg *Config) { cfg.LeafLife = time.Hour })
	c.put("web.yaml", podYAML("web", "n1", "10.0.0.1"))
	c.run()
	first := append([]*x509.Certificate(nil), c.server.ca.Roots()...)
	// One that renews as proxies do, one that knows only the first root until it must renew.
	busy, lazy := &renewing{machine: c.join("n1")}, &renewing{machine: c.join("n2")}
	for _, step := range []string{"prepare", "activate"} {
		if err := c.server.ca.Rotate(step, false); err != nil {
			t.Fatal(err)
		}
		busy.renew()
	}
	lazy.renew()
	if len(lazy.cert.RootCerts) != 2 {
		t.Errorf("%d roots after renewal", len(lazy.cert.RootCerts))
	}
	for passed := time.Duration(0); c.server.ca.Rotate("finish", false) != nil; passed += 20 * time.Minute {
		if passed > 2*time.Hour {
			t.Fatal("finish is never allowed")
		}
		c.pass(20 * time.Minute)
		busy.renew()
	}
	busy.renew()
	if roots := busy.cert.RootCerts; len(roots) != 1 || roots[0].Equal(first[0]) {
		t.Errorf("%d roots at the end", len(roots))
	}
	m := busy.connect()
	until(t, "synced with the new root alone", func() bool { return m.store.Snapshot().Synced() })
	until(t, "in status", func() bool {
		st := c.server.Status()
		return len(st.Proxies) == 1 && st.Proxies[0].Types[xds.AddressType].Synced
	})
}
