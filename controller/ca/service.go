package ca

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/controller/auth"
	"github.com/ambitmesh/ambit/internal/identity"
	pb "github.com/ambitmesh/ambit/internal/meshpb/ca"
)

// Tokens admit machines; controller/join has them.
type Tokens interface {
	Check(token, node string) error
	Use(token, node string) error // like Check, once
}

// Pods says who runs where.
type Pods interface {
	// Runs reports whether a pod of that identity that has not ended is on the node.
	Runs(node string, id identity.ID) bool
}

// ServiceConfig configures a Service.
type ServiceConfig struct {
	CA          *CA
	Callers     *auth.Authenticator
	Tokens      Tokens
	Pods        Pods
	Ready       func() bool // Pods knows all there is; nil: always
	TrustDomain string
	Log         *slog.Logger          // nil: discard
	Registerer  prometheus.Registerer // nil: no metrics
	Now         func() time.Time      // nil: time.Now

	InFlight    int        // requests at once; 0: 64
	NodeRate    rate.Limit // certificates a second of one node; 0: 100, in bursts of ten seconds' worth
	UnknownRate rate.Limit // requests a second of all callers without a certificate; 0: 20
	// PodWait is how long a request waits for a pod that the controller may not have heard of yet; 0: 500 ms.
	PodWait time.Duration
}

// Service is istio.v1.auth.IstioCertificateService. Callers are told no more than a code; the log says why.
type Service struct {
	pb.UnimplementedIstioCertificateServiceServer

	cfg     ServiceConfig
	metrics *metrics
	slots   chan struct{}
	waits   chan struct{} // a share of slots
	unknown *rate.Limiter
	callers limiters
}

// NewService returns a Service. It fails if a metric of that name is registered already.
func NewService(cfg ServiceConfig) (*Service, error) {
	if cfg.CA == nil || cfg.Callers == nil || cfg.Tokens == nil || cfg.Pods == nil || cfg.TrustDomain == "" {
		return nil, errors.New("new CA service: CA, Callers, Tokens, Pods and TrustDomain are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Ready == nil {
		cfg.Ready = func() bool { return true }
	}
	or(&cfg.InFlight, 64)
	or(&cfg.NodeRate, 100)
	or(&cfg.UnknownRate, 20)
	or(&cfg.PodWait, 500*time.Millisecond)
	m, err := newMetrics(cfg.Registerer, cfg.CA)
	if err != nil {
		return nil, fmt.Errorf("new CA service: %w", err)
	}
	return &Service{cfg: cfg, metrics: m, slots: make(chan struct{}, cfg.InFlight), waits: make(chan struct{}, max(1, cfg.InFlight/2)),
		unknown: rate.NewLimiter(cfg.UnknownRate, int(10*cfg.UnknownRate)+1), callers: limiters{limit: cfg.NodeRate}}, nil
}

func or[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// CreateCertificate signs a request, if the caller may have what it asks for.
func (s *Service) CreateCertificate(ctx context.Context, req *pb.IstioCertificateRequest) (*pb.IstioCertificateResponse, error) {
	r := &request{Service: s, req: req, peer: peerAddr(ctx)}
	chain, no := r.serve(ctx)
	if no != nil {
		s.metrics.refused.WithLabelValues(string(no.why)).Inc()
		if no.why != whyLimit { // a flood must not fill the log
			s.cfg.Log.Warn("refused a certificate", "why", no.why, "caller", r.caller, "peer", r.peer, "asked", clip(r.asked), "error", no.err)
		}
		return nil, status.Error(no.code(), no.text())
	}
	s.metrics.issued.WithLabelValues(r.kind).Inc()
	s.cfg.Log.Debug("issued a certificate", "caller", r.caller, "peer", r.peer, "identity", r.asked, "until", r.until)
	return &pb.IstioCertificateResponse{CertChain: chain}, nil
}

func peerAddr(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return p.Addr.String()
	}
	return ""
}

// why is the closed set of reasons for a refusal.
type why string

const (
	whyLimit       why = "limit"           // too many at once, or too often
	whyNotReady    why = "not_ready"       // the controller has not read its objects yet, or the API server does not answer
	whyBadRequest  why = "bad_request"     // no readable request, or it names more than one identity
	whyCredential  why = "unauthenticated" // neither certificate nor token, or of another mesh
	whyToken       why = "bad_token"       // unknown, used, expired, or for another node or audience
	whyTrustDomain why = "trust_domain"    // an identity of another trust domain
	whyNotOwn      why = "not_own"         // another's identity, for a caller that may have its own only
	whyNotOnNode   why = "not_on_node"     // no pod of that identity runs on the caller's node
	whyExpired     why = "expired"         // the caller's credential ended meanwhile
	whyInternal    why = "internal"        // our own failure
)

// refusal is why not, and what is told of it.
type refusal struct {
	why why
	err error
}

func refuse(w why, format string, args ...any) *refusal {
	return &refusal{w, fmt.Errorf(format, args...)}
}

func (r *refusal) code() codes.Code {
	switch r.why {
	case whyLimit:
		return codes.ResourceExhausted
	case whyNotReady:
		return codes.Unavailable
	case whyBadRequest:
		return codes.InvalidArgument
	case whyCredential, whyToken, whyExpired:
		return codes.Unauthenticated
	case whyTrustDomain, whyNotOwn, whyNotOnNode:
		return codes.PermissionDenied
	}
	return codes.Internal
}

func (r *refusal) text() string {
	switch r.code() {
	case codes.ResourceExhausted:
		return "too many requests, ask again later"
	case codes.Unavailable:
		return "not ready, ask again later"
	case codes.InvalidArgument:
		return "the request cannot be read"
	case codes.Unauthenticated:
		return "the caller is not authenticated"
	case codes.PermissionDenied:
		return "the caller may not have this identity"
	}
	return "the certificate could not be issued"
}
