package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/ambitmesh/ambit/controller/auth"
	"github.com/ambitmesh/ambit/controller/ca"
	"github.com/ambitmesh/ambit/controller/join"
	"github.com/ambitmesh/ambit/controller/kube"
	"github.com/ambitmesh/ambit/controller/state"
	"github.com/ambitmesh/ambit/controller/translate"
	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/identity"
	capb "github.com/ambitmesh/ambit/internal/meshpb/ca"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/objects"
)

// Server is the controller.
type Server struct {
	cfg     Config
	ca      *ca.CA
	callers *auth.Authenticator
	tokens  *join.Store
	src     objects.Source
	mesh    *translate.Mesh
	feed    *feed
	xds     *xds.Server
	grpc    *grpc.Server
	caps    *xds.Captures
	cache   *xds.Cache

	listener, admin, pages, metrics, ready net.Listener // pages, metrics and ready may be nil
	release                                func() error // of the state directory
}

// Bounds of the listener.
const (
	maxConnections = 10_000
	maxStreams     = 64       // of one connection: a proxy needs two
	maxRequest     = 32 << 20 // bytes: the names of some hundred thousand resources
)

// New takes the state directory and opens the listeners; Run serves. One process at a time can have a
// state directory.
func New(cfg Config) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if err := state.MakeDir(cfg.StateDir); err != nil {
		return nil, err
	}
	release, err := state.Lock(cfg.StateDir, "controller.lock", false)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", cfg.StateDir, err)
	}
	s := &Server{cfg: cfg, release: release}
	if err := s.build(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) build() (err error) {
	c := &s.cfg
	if s.ca, err = ca.Open(c.caOptions()); err != nil {
		return err
	}
	epoch, err := nextEpoch(c.StateDir, c.Now())
	if err != nil {
		return err
	}
	s.tokens, s.src, s.mesh = join.Open(c.StateDir, c.Now), c.Source(epoch), c.mesh()
	c.Captures.Wanted = s.mesh.Wanted
	s.cache, s.caps = xds.NewCache(), xds.NewCaptures(c.Captures)
	s.feed = s.newFeed()
	if s.ca.Fresh() {
		s.caps.Begin()
	} else if c.Cluster != nil {
		s.caps.Restore(nil) // the pods' annotations remember
	} else if err := s.feed.claims.restore(s.caps); err != nil {
		c.Log.Error("proxies will repeat which pods they capture", "error", err)
	}
	s.callers = &auth.Authenticator{TrustDomain: c.TrustDomain, Accounts: c.accounts(s.mesh), Now: c.Now}
	if err := s.services(); err != nil {
		return err
	}
	return s.listen()
}

func (s *Server) newFeed() *feed {
	c := &s.cfg
	f := &feed{src: s.src, mesh: s.mesh, options: translate.Options{ClusterID: c.ClusterID, TrustDomain: c.TrustDomain},
		cache: s.cache, captures: s.caps, claims: claimsIn(c.StateDir), log: c.Log, coalesce: c.Coalesce, cluster: c.Cluster != nil,
		wake: make(chan struct{}, 1), stepped: make(chan struct{}, 1), versions: xds.Versions{}, reached: xds.Versions{},
		pods: map[string]struct{}{}, announced: map[string]string{}, followers: map[objects.Kind]*follower{}}
	for _, k := range c.Kinds {
		f.followers[k] = newFollower(f, k)
	}
	return f
}

func (s *Server) services() (err error) {
	c := &s.cfg
	s.xds, err = xds.NewServer(xds.Config{Cache: s.cache, Captures: s.caps, Identify: s.identify, CatchUp: s.feed.look, Log: c.Log, Registerer: c.Registry, Now: c.Now})
	if err != nil {
		return err
	}
	signer, err := ca.NewService(ca.ServiceConfig{CA: s.ca, Callers: s.callers, Tokens: s.tokens, Pods: s.mesh, Ready: s.cache.Ready,
		TrustDomain: c.TrustDomain, Log: c.Log, Registerer: c.Registry, Now: c.Now})
	if err != nil {
		return err
	}
	ips, dns, err := c.names()
	if err != nil {
		return err
	}
	own := &ownCert{ca: s.ca, names: ca.Names{URI: identity.Controller(c.TrustDomain).String(), DNS: dns, IPs: ips}, now: c.Now}
	if _, err := own.get(); err != nil {
		return err
	}
	s.grpc = grpc.NewServer(grpc.Creds(credentials.NewTLS(identity.NodeServerConfig(own.get, c.Now))),
		grpc.ConnectionTimeout(10*time.Second), grpc.MaxConcurrentStreams(maxStreams), grpc.MaxRecvMsgSize(maxRequest), grpc.WaitForHandlers(true),
		// Proxies ping every 30 s, as Istio's do.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, MaxConnectionIdle: 5 * time.Minute}))
	discovery.RegisterAggregatedDiscoveryServiceServer(s.grpc, s.xds)
	capb.RegisterIstioCertificateServiceServer(s.grpc, signer)
	return s.register()
}

// identify admits nodes and their proxies only: configuration is theirs.
func (s *Server) identify(ctx context.Context) (xds.Caller, error) {
	caller, err := s.callers.Caller(ctx)
	if err != nil {
		return xds.Caller{}, err
	}
	if caller.Node == "" {
		return xds.Caller{}, fmt.Errorf("%s is neither a node nor the proxy of one", caller)
	}
	return xds.Caller{Node: caller.Node, Until: caller.Until}, nil
}

func (s *Server) listen() (err error) {
	c := &s.cfg
	if c.AdminSocket == "" {
		c.AdminSocket = filepath.Join(c.StateDir, AdminSocket)
	}
	if s.admin, err = listenUnix(c.AdminSocket); err != nil {
		return err
	}
	for _, l := range []struct {
		addr string
		to   *net.Listener
	}{{c.Listen, &s.listener}, {c.AdminAddr, &s.pages}, {c.MetricsAddr, &s.metrics}, {c.ReadyAddr, &s.ready}} {
		if l.addr == "" {
			continue
		}
		if *l.to, err = net.Listen("tcp", l.addr); err != nil {
			return fmt.Errorf("listen on %s: %w", l.addr, err)
		}
	}
	return nil
}

// Addr is where xDS and certificates are served.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, then closes everything and returns. Call it once.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.feed.run(ctx) })
	g.Go(func() error { s.caps.Run(ctx); return nil })
	if s.cfg.Cluster != nil {
		g.Go(func() error {
			return s.cfg.Cluster.Run(ctx, kube.Work{CA: s.ca, Statuses: s.statuses, Changed: s.feed.stepped})
		})
	}
	g.Go(func() error { return s.serveHTTP(ctx, s.admin, s.adminHandler()) })
	g.Go(func() error { return s.serveHTTP(ctx, s.pages, loopback(s.pagesMux())) })
	g.Go(func() error { return s.serveHTTP(ctx, s.metrics, at("GET /metrics", s.metricsHandler())) })
	g.Go(func() error { return s.serveHTTP(ctx, s.ready, at("GET /healthz/ready", s.readyHandler())) })
	g.Go(s.serveGRPC)
	g.Go(func() error {
		<-ctx.Done()
		s.stop()
		return nil
	})
	s.cfg.Log.Info("the controller listens", "address", s.Addr(), "trust_domain", s.cfg.TrustDomain, "state", s.cfg.StateDir)
	err := g.Wait()
	return errors.Join(err, s.Close())
}

func (s *Server) serveGRPC() error {
	err := s.grpc.Serve(netutil.LimitListener(s.listener, maxConnections))
	if errors.Is(err, grpc.ErrServerStopped) { // before it had begun
		return nil
	}
	return err
}

// stop says goodbye to clients, then ends what is left: streams never end by themselves.
func (s *Server) stop() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	t := time.NewTimer(200 * time.Millisecond)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		s.grpc.Stop()
		<-done
	}
}

// Close gives up the listeners and the state directory. Run does it too.
func (s *Server) Close() error {
	for _, l := range []net.Listener{s.listener, s.admin, s.pages, s.metrics, s.ready} {
		if l != nil {
			l.Close() // may be closed already
		}
	}
	if s.release == nil {
		return nil
	}
	release := s.release
	s.release = nil
	return release()
}
