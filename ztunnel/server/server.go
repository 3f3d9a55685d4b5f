package server

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/grpc"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/internal/xds"
	"github.com/ambitmesh/ambit/ztunnel/admin"
	"github.com/ambitmesh/ambit/ztunnel/certs"
	"github.com/ambitmesh/ambit/ztunnel/decide"
	"github.com/ambitmesh/ambit/ztunnel/direct"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/pods"
	"github.com/ambitmesh/ambit/ztunnel/zds"
)

// Server is one proxy process.
type Server struct {
	cfg      Config
	instance string

	store   *mesh.Store
	node    *certs.Node // nil: the service account's token proves who calls
	certs   *certs.Manager
	engine  engine.Engine
	kind    EngineKind // of engine
	decider *decide.Decider
	watcher *decide.Watcher
	direct  *direct.Manager // nil: no connection goes past the proxy
	pods    *pods.Registry
	xds     *xds.Client
	zds     *zds.Client
	admin   *admin.Admin
	log     *accessLog
	saver   *saver
	drain   *drain

	provider certs.Provider // of certificates, by the same way as dial
	dial     func(...grpc.DialOption) (*grpc.ClientConn, error)
}

// New puts a proxy together. Nothing runs and nothing listens until Run.
func New(cfg Config) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg, instance: rand.Text()}
	s.store = mesh.NewStore(mesh.Options{Log: cfg.Log, Publishing: func(generation uint64) {
		if s.direct != nil {
			s.direct.Publishing(generation)
		}
	}})
	s.saver = newSaver(cfg.snapshotFile(), s.store, cfg.Log)
	for _, step := range []func() error{s.newCerts, s.newEngine, s.newControl, s.newPods, s.newDirect} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("new proxy: %w", err)
		}
	}
	s.drain = newDrain(s.engine, s.last, cfg.Log)
	s.newAdmin()
	return s, nil
}

func (s *Server) newCerts() error {
	uri := identity.NodeURI(s.cfg.TrustDomain, s.cfg.Node)
	link := certs.Link{
		Target: s.cfg.Controller, Controller: []string{identity.Controller(s.cfg.TrustDomain).String()},
		RootFile: s.cfg.ControllerRoot, Now: s.cfg.Now,
	}
	if s.cfg.TokenFile != "" {
		account := &certs.Account{Link: link, TokenFile: s.cfg.TokenFile, ClusterID: s.cfg.ClusterID, ServerName: s.cfg.ControllerName}
		s.provider, s.dial = account, account.Dial
		return nil
	}
	ca := &certs.CA{Link: link, NodeURI: uri}
	s.provider, s.dial = ca, ca.Dial
	s.node = certs.NewNode(uri, s.cfg.JoinTokenFile, ca, s.cfg.Now, s.cfg.Log)
	ca.Node = s.node.Cert
	return nil
}

// newEngine makes what decides and what carries. The expiry of certificates is a metric of telemetry's.
func (s *Server) newEngine() error {
	log, err := openAccessLog(s.cfg.AccessLog, s.cfg.Log)
	if err != nil {
		return err
	}
	s.log = log
	count, err := telemetry.New(telemetry.Options{Registerer: s.cfg.Registry, Now: s.cfg.Now, LogDropped: log.dropped})
	if err != nil {
		return err
	}
	s.certs, err = certs.New(certs.Config{
		Provider: s.provider, Node: s.node, OnRoots: func() { s.engine.Recheck() }, Expiry: count.CertificateExpiry,
		Now: s.cfg.Now, Log: s.cfg.Log, Registerer: s.cfg.Registry,
	})
	if err != nil {
		return err
	}
	s.decider = decide.New(decide.Options{
		Store: s.store, Node: s.cfg.Node, SameNode: s.cfg.SameNode, PolicyWait: policyWait,
		HandedOver: func(p *engine.Pod, to netip.AddrPort) { s.direct.HandedOver(p, to) },
		Balancer:   balance.New(balance.Options{Now: s.cfg.Now, Log: s.cfg.Log, Observer: count}),
		LocalPods:  func(a netip.Addr) *engine.Pod { return s.pods.At(a) },
		Telemetry:  count, AccessLog: log.lines, Now: s.cfg.Now, Log: s.cfg.Log,
	})
	return s.makeEngine()
}

func (s *Server) newPods() (err error) {
	s.pods, err = pods.New(pods.Config{
		Engine: s.engine, Certs: s.certs, Captures: s.xds,
		Known:       func(uid string) bool { return s.store.Snapshot().Workload(uid) != nil },
		TrustDomain: s.cfg.TrustDomain, Cluster: s.cfg.ClusterID,
		Now: s.cfg.Now, Log: s.cfg.Log, Registerer: s.cfg.Registry,
	})
	if err != nil {
		return err
	}
	s.zds = &zds.Client{
		Path: s.cfg.ZDS, Instance: s.instance, Build: s.cfg.Version, Log: s.cfg.Log,
		Handler: &handler{Registry: s.pods, server: s},
	}
	s.watcher = s.decider.NewWatcher(s.engine.Recheck)
	return nil
}

// policyWait is how long a connection waits for a policy whose name its destination bears.
const policyWait = 5 * time.Second

func (s *Server) newDirect() error {
	if s.cfg.SameNode != decide.Direct {
		return nil
	}
	s.direct = direct.New(direct.Config{
		Judge: s.decider, Pod: s.pods.ByUID, PolicyWait: policyWait, Generation: s.store.Snapshot().Generation(),
		Now: s.cfg.Now, Log: s.cfg.Log,
	})
	s.store.Subscribe(s.direct.Changed)
	return nil
}

// last makes this the last session with the agent.
func (s *Server) last() {
	s.zds.Last()
	if s.direct != nil {
		s.direct.Stop()
	}
}

// each calls f for every live connection, those that the kernel carries included.
func (s *Server) each(f func(*engine.Record) bool) {
	more := true
	s.engine.Each(func(r *engine.Record) bool { more = f(r); return more })
	if more && s.direct != nil {
		s.direct.Each(f)
	}
}

func (s *Server) newAdmin() {
	s.admin = admin.New(admin.Config{
		Store: s.store, Each: s.each, Pods: s.pods.List, Certs: s.certs.List,
		Explain: func(source, destination string, port uint16) (any, error) {
			return s.decider.Explain(source, destination, port)
		},
		Ready: s.ready, Gatherer: s.cfg.Registry, Level: s.cfg.Level, Version: s.cfg.Version,
		Settings: s.settings(), Log: s.cfg.Log, Pprof: s.cfg.Pprof,
	})
}
