package xds

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// stream is one proxy's stream. Three goroutines: one receives, one sends, and the handler's own decides.
type stream struct {
	server *Server
	ads    discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	caller Caller
	log    *slog.Logger
	since  time.Time
	proxy  *proxy

	mu        sync.Mutex // held while deciding; Status takes it too
	id        string     // as the proxy calls itself
	seen      map[string]Versions
	policies  *watch // nil until asked for
	addresses *watch
	captures  *watch
	nonce     uint64
	blocked   time.Time // since when workloads wait for policies; zero: they do not
}

func (s *Server) newStream(caller Caller, ads discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) *stream {
	return &stream{server: s, ads: ads, caller: caller, since: s.cfg.Now(),
		log: s.cfg.Log.With("node", caller.Node, "peer", peerAddr(ads.Context()))}
}

func peerAddr(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return p.Addr.String()
	}
	return ""
}

// run returns when the stream is over; the receiver and the sender end with the stream's context, which
// gRPC ends when the handler returns.
func (s *stream) run() error {
	requests, received := make(chan *discovery.DeltaDiscoveryRequest), make(chan error, 1)
	go func() { received <- s.receive(requests) }()
	out, sent := make(chan *discovery.DeltaDiscoveryResponse, 1), make(chan error, 1)
	go s.send(out, sent)
	defer close(out)
	return s.decide(requests, received, out, sent)
}

func (s *stream) receive(to chan<- *discovery.DeltaDiscoveryRequest) error {
	for {
		req, err := s.ads.Recv()
		if err != nil {
			return err
		}
		select {
		case to <- req:
		case <-s.ads.Context().Done():
			return s.ads.Context().Err()
		}
	}
}

func (s *stream) send(from <-chan *discovery.DeltaDiscoveryResponse, done chan<- error) {
	for resp := range from {
		done <- s.ads.Send(resp) // has room: the next response comes after this was taken
	}
}

// decide reacts to requests, changes and time until the stream is over.
func (s *stream) decide(requests <-chan *discovery.DeltaDiscoveryRequest, received <-chan error,
	out chan<- *discovery.DeltaDiscoveryResponse, sent <-chan error) error {
	timer, slow := time.NewTimer(0), time.NewTimer(s.server.cfg.SendWait)
	defer timer.Stop()
	defer slow.Stop()
	expiry, stop := until(s.caller.Until, s.server.cfg.Now())
	defer stop()
	for sending := false; ; {
		changed := s.server.cfg.Cache.Changed()
		if !sending {
			resp, wait, err := s.next()
			if err != nil {
				return err
			}
			if sending = resp != nil; sending {
				out <- resp // has room: the last one was sent
				slow.Reset(s.server.cfg.SendWait)
			}
			timer.Reset(wait)
		}
		var err error
		select {
		case <-changed:
		case <-s.proxy.wake:
		case <-timer.C:
		case req := <-requests:
			err = s.request(req)
		case err = <-sent:
			sending = false
		case <-slow.C:
			if sending {
				err = status.Error(codes.DeadlineExceeded, "the proxy does not read")
			}
		case <-expiry:
			err = status.Error(codes.Unauthenticated, "the credential has ended: connect again")
		case err := <-received:
			return ended(err)
		}
		if err != nil {
			return err
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// until returns a channel that is readable at t, never if t is zero.
func until(t, now time.Time) (<-chan time.Time, func() bool) {
	if t.IsZero() {
		return nil, func() bool { return true }
	}
	timer := time.NewTimer(t.Sub(now))
	return timer.C, timer.Stop
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range []*watch{s.policies, s.addresses} {
		if w != nil {
			s.server.cfg.Cache.detach(w.typeURL, w.cursor)
		}
	}
}
