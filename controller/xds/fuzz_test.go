package xds

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// fakeADS is a stream that only has a context.
type fakeADS struct {
	discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
}

func (fakeADS) Context() context.Context { return context.Background() }

// FuzzRequests gives a stream up to two arbitrary messages, each followed by all that the server has to say,
// and the right acknowledgements.
func FuzzRequests(f *testing.F) {
	for _, req := range []*discovery.DeltaDiscoveryRequest{
		{TypeUrl: AddressType}, {TypeUrl: AuthorizationType, InitialResourceVersions: map[string]string{"a/p": "1"}},
		{TypeUrl: AddressType, ResourceNamesSubscribe: []string{"*"}, ResourceNamesUnsubscribe: []string{"*", "x"}},
		{TypeUrl: AddressType, ResourceNamesSubscribe: []string{"c//Pod/a/b", "x"}, InitialResourceVersions: map[string]string{"y": ""}},
		{TypeUrl: CaptureType, ResourceNamesSubscribe: []string{"c//Pod/a/b"}, ResponseNonce: "1"},
		{TypeUrl: CaptureType, ResourceNamesUnsubscribe: []string{"c//Pod/a/b"}},
		{TypeUrl: "x", ErrorDetail: &discovery.Status{Message: "\xff"}, Node: &discovery.Node{Id: "\xff"}},
	} {
		raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(req)
		if err != nil {
			continue // not UTF-8: the bytes below are
		}
		f.Add(raw, raw)
	}
	f.Add([]byte("\x12\x03abc"), []byte{})
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		cfg := Config{Cache: NewCache(), Captures: NewCaptures(CaptureOptions{}), Log: log,
			Identify: func(context.Context) (Caller, error) { return Caller{Node: "n"}, nil }}
		server, err := NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Captures.Restore(nil)
		cfg.Cache.Apply(Versions{"Pod": 1}, Change{AddressType, []Resource{address(t, "c//Pod/a/b", "1")}, nil},
			Change{AuthorizationType, []Resource{policy(t, "a/p", "1")}, nil})
		s := server.newStream(Caller{Node: "n"}, fakeADS{})
		if !server.enter(s) {
			t.Fatal("not admitted")
		}
		for _, raw := range [][]byte{one, two} {
			req := &discovery.DeltaDiscoveryRequest{}
			if proto.Unmarshal(raw, req) != nil || s.request(req) != nil {
				break
			}
			drainStream(t, s)
			cfg.Cache.Apply(Versions{"Pod": 2}, Change{AddressType, []Resource{address(t, "c//Pod/a/c", "1")}, []string{"c//Pod/a/b"}})
			drainStream(t, s)
		}
		s.status()
		server.leave(s)
		if n := len(cfg.Captures.proxies) + len(cfg.Cache.table(AddressType).cursors); n != 0 {
			t.Errorf("%d things are held for a stream that is gone", n)
		}
	})
}

// drainStream acknowledges what comes; that must come to an end.
func drainStream(t *testing.T, s *stream) {
	t.Helper()
	for range 20 {
		resp, wait, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if resp == nil {
			if wait <= 0 || wait > time.Minute {
				t.Errorf("look again in %s", wait)
			}
			return
		}
		if err := s.request(&discovery.DeltaDiscoveryRequest{TypeUrl: resp.GetTypeUrl(), ResponseNonce: resp.GetNonce()}); err != nil {
			t.Fatal(err)
		}
	}
	t.Error("it never ends")
}
