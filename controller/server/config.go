package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/controller/auth"
	"github.com/ambitmesh/ambit/controller/ca"
	"github.com/ambitmesh/ambit/controller/kube"
	"github.com/ambitmesh/ambit/controller/translate"
	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/objects"
)

// Registry is where metrics are registered and read from.
type Registry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// Config configures a Server.
type Config struct {
	// Source makes the source of objects; epoch is higher than in any earlier process of the state directory.
	Source      func(epoch uint32) objects.Source
	Listen      string // host:port for xDS and certificates
	StateDir    string
	TrustDomain string               // "": cluster.local
	ClusterID   string               // "": Kubernetes
	ServerNames []string             // of our own certificate: addresses and DNS names
	LeafLife    time.Duration        // 0: 24 h
	Kinds       []objects.Kind       // that Source serves; nil: all
	Cluster     *kube.Cluster        // what is done in a cluster; nil: standalone
	Accounts    *auth.AccountsConfig // how callers with a service account's token are known; nil: not at all
	MetricsAddr string               // "": on the admin socket only
	ReadyAddr   string               // "": on the admin socket only
	AdminSocket string               // "": <state dir>/controller.sock
	AdminAddr   string               // loopback address where the admin pages can be read; "": on the socket only
	Version     string
	Log         *slog.Logger // nil: discard
	Registry    Registry     // nil: its own
	Now         func() time.Time
	Captures    xds.CaptureOptions // its Now is replaced
	Coalesce    time.Duration      // how long changes are collected; 0: 25 ms
}

func (c *Config) fill() error {
	if c.Source == nil || c.Listen == "" || c.StateDir == "" {
		return errors.New("new controller: Source, Listen and StateDir are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Kinds == nil {
		c.Kinds = objects.Kinds()
	}
	c.Captures.Now = c.Now
	or(&c.TrustDomain, "cluster.local")
	or(&c.ClusterID, "Kubernetes")
	or(&c.Coalesce, 25*time.Millisecond)
	if _, err := identity.Parse(identity.Controller(c.TrustDomain).String()); err != nil {
		return fmt.Errorf("trust domain %q: %w", c.TrustDomain, err)
	}
	_, _, err := c.names()
	return err
}

func or[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// names sorts the server's names into addresses and DNS names.
func (c *Config) names() (ips []net.IP, dns []string, err error) {
	for _, n := range c.ServerNames {
		switch ip := net.ParseIP(n); {
		case ip != nil:
			ips = append(ips, ip)
		case validDNS(n):
			dns = append(dns, n)
		default:
			return nil, nil, fmt.Errorf("server name %q is neither an address nor a DNS name", n)
		}
	}
	return ips, dns, nil
}

func validDNS(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}

func (c *Config) caOptions() ca.Options {
	o := ca.Options{Dir: c.StateDir, TrustDomain: c.TrustDomain, LeafLife: c.LeafLife, Log: c.Log, Now: c.Now}
	if c.Cluster != nil {
		o.Store, o.Lag = c.Cluster.Store(), c.Cluster.Lag()
	}
	return o
}

// accounts lets the mesh say where a pod runs, if its token does not.
func (c *Config) accounts(m *translate.Mesh) *auth.Accounts {
	if c.Accounts == nil {
		return nil
	}
	own := *c.Accounts
	own.NodeOf, own.Now = m.NodeOfPod, c.Now
	return auth.NewAccounts(own)
}

func (c *Config) mesh() *translate.Mesh {
	return translate.NewMesh(translate.Options{ClusterID: c.ClusterID, TrustDomain: c.TrustDomain})
}
