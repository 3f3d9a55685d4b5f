package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/xds"
)

// The resource types, as the proxies name them.
const (
	AddressType       = xds.AddressType
	AuthorizationType = xds.AuthorizationType
	CaptureType       = xds.CaptureType
)

// Caller is who opened a stream.
type Caller struct {
	Node  string    // the machine that its credential names
	Until time.Time // when the credential ends, and with it the stream; zero: never
}

// Config configures a Server.
type Config struct {
	Cache    *Cache
	Captures *Captures
	// Identify judges the caller; its error goes to the log, not to the caller.
	Identify func(context.Context) (Caller, error)
	// CatchUp is called while this controller is behind what a proxy has seen; it must not block. May be nil.
	CatchUp    func(seen Versions)
	Log        *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	StaleWait  time.Duration         // how long a controller that is behind says nothing; 0: 10 s
	PolicyWait time.Duration         // how long workloads wait for policies that are not acknowledged; 0: 10 s
	SendWait   time.Duration         // how long a proxy may take to read a response; 0: 60 s
	MaxMessage int                   // bytes of a response; 0: what the proxies take
	MaxStreams int                   // 0: 10,000
}

// Server is the delta ADS service.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer

	cfg     Config
	metrics *metrics

	mu      sync.Mutex
	streams map[*stream]struct{}
}

// firstWait is how long workloads wait for a proxy to ask for policies too.
const firstWait = 250 * time.Millisecond

// NewServer returns a Server. It fails if a metric of that name is registered already.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Cache == nil || cfg.Captures == nil || cfg.Identify == nil {
		return nil, errors.New("new xds server: Cache, Captures and Identify are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CatchUp == nil {
		cfg.CatchUp = func(Versions) {}
	}
	or(&cfg.StaleWait, 10*time.Second)
	or(&cfg.PolicyWait, 10*time.Second)
	or(&cfg.SendWait, time.Minute)
	or(&cfg.MaxMessage, xds.DefaultMaxMessage)
	or(&cfg.MaxStreams, 10_000)
	s := &Server{cfg: cfg, streams: map[*stream]struct{}{}}
	m, err := newMetrics(cfg.Registerer, s)
	if err != nil {
		return nil, fmt.Errorf("new xds server: %w", err)
	}
	s.metrics = m
	return s, nil
}

func or[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// DeltaAggregatedResources serves one stream until either side ends it or the caller's certificate does.
func (s *Server) DeltaAggregatedResources(ads discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	caller, err := s.cfg.Identify(ads.Context())
	if err != nil {
		s.metrics.refused.Inc()
		s.cfg.Log.Warn("refused a stream", "peer", peerAddr(ads.Context()), "error", err)
		return status.Error(codes.Unauthenticated, "the caller is no node's proxy")
	}
	st := s.newStream(caller, ads)
	if !s.enter(st) {
		return status.Error(codes.ResourceExhausted, "too many streams")
	}
	defer s.leave(st)
	st.log.Info("a proxy connected")
	err = st.run()
	st.log.Info("a proxy disconnected", "error", err)
	return err
}

func (s *Server) enter(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) >= s.cfg.MaxStreams {
		return false
	}
	s.streams[st] = struct{}{}
	st.proxy = s.cfg.Captures.connect(st.caller.Node)
	return true
}

func (s *Server) leave(st *stream) {
	st.close()
	s.cfg.Captures.disconnect(st.proxy)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st)
}

func (s *Server) open() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*stream, 0, len(s.streams))
	for st := range s.streams {
		out = append(out, st)
	}
	return out
}
