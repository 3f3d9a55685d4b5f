package xds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// stream is one delta ADS stream. One goroutine receives and applies, one sends.
type stream struct {
	client *Client
	ads    discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	acks   chan *discovery.DeltaDiscoveryRequest
	seen   map[string]bool // types that have been answered on this stream
}

func (s *stream) run(ctx context.Context, cancel context.CancelFunc) (answered bool, err error) {
	s.client.capture.reset()
	sent := make(chan error, 1)
	go func() {
		sent <- s.send(ctx)
		cancel() // ends the receiver
	}()
	err = s.receive(ctx)
	cancel()
	if sendErr := <-sent; errors.Is(err, context.Canceled) && sendErr != nil {
		err = sendErr
	}
	return len(s.seen) > 0, err
}

// send subscribes and then passes on acknowledgements and changes of the captured set.
func (s *stream) send(ctx context.Context) error {
	for _, req := range s.first() {
		if err := s.ads.Send(req); err != nil {
			return fmt.Errorf("subscribe to %s: %w", req.GetTypeUrl(), err)
		}
	}
	for {
		var req *discovery.DeltaDiscoveryRequest
		select {
		case <-ctx.Done():
			return nil
		case req = <-s.acks:
		case <-s.client.capture.wake:
			if req = s.client.capture.request(); req == nil {
				continue
			}
		}
		if err := s.ads.Send(req); err != nil {
			return fmt.Errorf("send request: %w", err)
		}
	}
}

// first returns the wildcard subscriptions of a stream. What the store has is listed with its
// versions, so that only differences and removals come back; the system versions seen last go with
// the node, so that a controller that is behind does not take the proxy back in time.
func (s *stream) first() []*discovery.DeltaDiscoveryRequest {
	snap := s.client.cfg.Store.Snapshot()
	return []*discovery.DeltaDiscoveryRequest{
		{Node: withSeen(s.client.cfg.Node, snap.Seen()), TypeUrl: AddressType, InitialResourceVersions: snap.AddressVersions()},
		{TypeUrl: AuthorizationType, InitialResourceVersions: snap.PolicyVersions()},
	}
}

func withSeen(n *discovery.Node, seen map[string]string) *discovery.Node {
	if len(seen) == 0 {
		return n
	}
	n = proto.CloneOf(n)
	fields := map[string]*structpb.Value{}
	for typeURL, version := range seen {
		fields[typeURL] = structpb.NewStringValue(version)
	}
	if n.Metadata == nil {
		n.Metadata = &structpb.Struct{}
	}
	if n.Metadata.Fields == nil {
		n.Metadata.Fields = map[string]*structpb.Value{}
	}
	n.Metadata.Fields[SeenKey] = structpb.NewStructValue(&structpb.Struct{Fields: fields})
	return n
}

func (s *stream) receive(ctx context.Context) error {
	for {
		resp, err := s.ads.Recv()
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if len(s.seen) == 0 {
			s.client.connected()
		}
		s.client.metrics.received(resp)
		select {
		case s.acks <- acknowledge(resp, s.apply(resp)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// apply takes over what is good and returns what is not.
func (s *stream) apply(resp *discovery.DeltaDiscoveryResponse) []error {
	c, t := s.client, resp.GetTypeUrl()
	var errs []error
	switch t {
	case AddressType, AuthorizationType:
		u, bad := toUpdate(resp)
		u.AddressesComplete, u.PoliciesComplete = t == AddressType, t == AuthorizationType
		errs = slices.Concat(bad, c.cfg.Store.Apply(u))
	case CaptureType:
		for _, uid := range c.capture.answer(resp) {
			c.cfg.OnPlain(uid)
		}
	default:
		return []error{fmt.Errorf("resource type %q was not asked for", clip(t))}
	}
	s.seen[t] = true
	if len(errs) > 0 {
		c.metrics.rejected.WithLabelValues(t).Add(float64(len(errs)))
		c.nacked(detail(errs))
		c.cfg.Log.Warn("refused resources", "type", t, "refused", len(errs), "of", len(resp.GetResources()), "error", detail(errs))
	}
	return errs
}

// toUpdate turns a response into an update and returns what could not even be decoded, except for
// policies, which stand (the store reports them). The first answer of a type on a stream is complete,
// and so is what the store has from then on.
func toUpdate(resp *discovery.DeltaDiscoveryResponse) (u mesh.Update, errs []error) {
	policies := resp.GetTypeUrl() == AuthorizationType
	for _, r := range resp.GetResources() {
		switch {
		case r.GetResource() == nil && r.GetTtl() != nil: // a heartbeat: nothing new
		case policies:
			u.AddPolicy(r.GetName(), r.GetVersion(), r.GetResource())
		default:
			if err := u.AddAddress(r.GetName(), r.GetVersion(), r.GetResource()); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if policies {
		u.RemovePolicy = resp.GetRemovedResources()
	} else {
		u.RemoveAddress = resp.GetRemovedResources()
	}
	// A replica that is behind answers with nothing: its version must not replace a newer one.
	if v := resp.GetSystemVersionInfo(); v != "" && len(resp.GetResources())+len(resp.GetRemovedResources()) > 0 {
		u.Seen = map[string]string{resp.GetTypeUrl(): v}
	}
	return u, errs
}

// invalidArgument is gRPC's code for a refusal of what was sent.
const invalidArgument = 3

func acknowledge(resp *discovery.DeltaDiscoveryResponse, errs []error) *discovery.DeltaDiscoveryRequest {
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: resp.GetTypeUrl(), ResponseNonce: resp.GetNonce()}
	if len(errs) > 0 {
		req.ErrorDetail = &discovery.Status{Code: invalidArgument, Message: detail(errs)}
	}
	return req
}

// maxDetail bounds the text of a refusal, in bytes.
const maxDetail = 4096

func detail(errs []error) string {
	var b strings.Builder
	for i, err := range errs {
		if b.Len() > maxDetail-256 {
			fmt.Fprintf(&b, "; and %d more", len(errs)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		text := strings.ToValidUTF8(err.Error(), "?")
		b.WriteString(text[:min(len(text), maxDetail/2)])
	}
	return strings.ToValidUTF8(b.String(), "?")
}

func clip(s string) string { return s[:min(len(s), 128)] }
