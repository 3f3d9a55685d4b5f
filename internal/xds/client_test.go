package xds

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// controller gives each stream to the test, which plays the server's part.
type controller struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	streams chan *played
}

type played struct {
	t    *testing.T
	ads  discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	reqs chan *discovery.DeltaDiscoveryRequest
	end  chan struct{}
}

func (c *controller) DeltaAggregatedResources(s discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	p := &played{ads: s, reqs: make(chan *discovery.DeltaDiscoveryRequest, 64), end: make(chan struct{})}
	c.streams <- p
	go func() {
		defer close(p.reqs)
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			p.reqs <- r
		}
	}()
	select {
	case <-p.end:
	case <-s.Context().Done():
	}
	return nil
}

// begin starts a controller and a client of it.
func begin(t *testing.T, change func(*ClientConfig)) (*Client, *mesh.Store, *controller) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &controller{streams: make(chan *played, 16)}
	srv := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(srv, c)
	go srv.Serve(l)
	store := mesh.NewStore(mesh.Options{})
	cfg := ClientConfig{
		Node: &discovery.Node{Id: "ztunnel~127.0.0.1~a.b~b.svc.cluster.local"}, Store: store,
		MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
		Dial: func(context.Context) (*grpc.ClientConn, error) {
			return grpc.NewClient(l.Addr().String(), append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		},
	}
	if change != nil {
		change(&cfg)
	}
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		srv.Stop()
	})
	return client, store, c
}

func (c *controller) stream(t *testing.T) *played {
	t.Helper()
	select {
	case p := <-c.streams:
		p.t = t
		return p
	case <-time.After(time.Minute):
		t.Fatal("no stream")
		return nil
	}
}

// next returns the next request of a type.
func (p *played) next(typeURL string) *discovery.DeltaDiscoveryRequest {
	p.t.Helper()
	for timeout := time.After(time.Minute); ; {
		select {
		case r, ok := <-p.reqs:
			if !ok {
				p.t.Fatal("the stream ended")
			}
			if r.GetTypeUrl() == typeURL {
				return r
			}
		case <-timeout:
			p.t.Fatalf("no request of type %s", typeURL)
		}
	}
}

func (p *played) send(typeURL, nonce string, removed []string, res ...*discovery.Resource) *discovery.DeltaDiscoveryRequest {
	p.t.Helper()
	err := p.ads.Send(&discovery.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: nonce, Resources: res, RemovedResources: removed, SystemVersionInfo: "v-" + nonce})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.next(typeURL)
}

func resource(t testing.TB, name, version string, m proto.Message) *discovery.Resource {
	t.Helper()
	body, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return &discovery.Resource{Name: name, Version: version, Resource: body}
}

func podOf(uid string) *workload.Address {
	return &workload.Address{Type: &workload.Address_Workload{Workload: &workload.Workload{Uid: uid, Name: "web", Namespace: "shop", Addresses: [][]byte{{10, 0, 0, 1}}}}}
}

const uid = "Kubernetes//Pod/shop/web"

func TestReconnectSendsVersionsAndWhatWasSeen(t *testing.T) {
	client, store, c := begin(t, nil)
	p := c.stream(t)
	if r := p.next(AddressType); r.GetNode() == nil || len(r.GetInitialResourceVersions()) != 0 {
		t.Errorf("first request: %v", r)
	}
	p.next(AuthorizationType)
	if ack := p.send(AddressType, "1", nil, resource(t, uid, "7", podOf(uid))); ack.GetResponseNonce() != "1" || ack.GetErrorDetail() != nil {
		t.Errorf("answer: %v", ack)
	}
	if store.Snapshot().Synced() {
		t.Error("synced with one type only")
	}
	p.send(AuthorizationType, "2", nil)
	if !store.Snapshot().Synced() || !client.Status().Connected {
		t.Error("not synced after both types")
	}
	close(p.end)
	p = c.stream(t)
	r := p.next(AddressType)
	if r.GetInitialResourceVersions()[uid] != "7" {
		t.Errorf("versions: %v", r.GetInitialResourceVersions())
	}
	seen := r.GetNode().GetMetadata().GetFields()[SeenKey].GetStructValue().GetFields()
	if seen[AddressType].GetStringValue() != "v-1" {
		t.Errorf("seen: %v", seen)
	}
	if _, there := seen[AuthorizationType]; there {
		t.Error("an empty answer's version counts as seen")
	}
	p.send(AddressType, "3", []string{uid})
	if store.Snapshot().Workload(uid) != nil {
		t.Error("a removal was not applied")
	}
}

func TestBadResourcesAreRefusedAndTheRestApplies(t *testing.T) {
	client, store, c := begin(t, nil)
	p := c.stream(t)
	p.next(AuthorizationType)
	wrong := resource(t, "other", "1", podOf(uid))
	nack := p.send(AddressType, "1", nil, wrong, resource(t, uid, "1", podOf(uid)))
	if nack.GetErrorDetail().GetCode() != invalidArgument || !strings.Contains(nack.GetErrorDetail().GetMessage(), "other") {
		t.Errorf("answer: %v", nack)
	}
	if store.Snapshot().Workload(uid) == nil || client.Status().LastNACK == "" {
		t.Error("the good resource was lost, or the refusal is not shown")
	}
	nack = p.send(AuthorizationType, "2", nil, &discovery.Resource{Name: "shop/p", Version: "1", Resource: &anypb.Any{TypeUrl: AuthorizationType, Value: []byte{0xff}}})
	if nack.GetErrorDetail() == nil || store.Snapshot().Policy("shop/p") == nil {
		t.Errorf("an unreadable policy: answer %v, policy %v", nack, store.Snapshot().Policy("shop/p"))
	}
	if nack := p.send("type.googleapis.com/x.Unknown", "3", nil); nack.GetErrorDetail() == nil {
		t.Error("a type that was not asked for is acknowledged")
	}
}

func TestCapture(t *testing.T) {
	plain := make(chan string, 4)
	client, _, c := begin(t, func(cfg *ClientConfig) { cfg.OnPlain = func(u string) { plain <- u } })
	client.SetCaptured([]string{uid, "b"})
	p := c.stream(t)
	if r := p.next(CaptureType); !slices.Equal(r.GetResourceNamesSubscribe(), []string{uid, "b"}) {
		t.Errorf("subscribed to %v", r.GetResourceNamesSubscribe())
	}
	p.send(CaptureType, "1", nil, &discovery.Resource{Name: uid})
	if !client.Announced(uid) || client.Announced("b") {
		t.Error("announced: want the confirmed one only")
	}
	client.SetCaptured([]string{"b"})
	if r := p.next(CaptureType); !slices.Equal(r.GetResourceNamesUnsubscribe(), []string{uid}) || client.PlainKnown(uid) {
		t.Errorf("unsubscribed from %v", r.GetResourceNamesUnsubscribe())
	}
	close(p.end) // the question is asked again on a new stream
	p = c.stream(t)
	r := p.next(CaptureType)
	if !slices.Equal(r.GetResourceNamesSubscribe(), []string{"b"}) || !slices.Equal(r.GetResourceNamesUnsubscribe(), []string{uid}) {
		t.Errorf("on a new stream: %v", r)
	}
	p.send(CaptureType, "2", []string{uid})
	if got := <-plain; got != uid || !client.PlainKnown(uid) {
		t.Errorf("plain: %q", got)
	}
	client.SetCaptured([]string{uid, "b"})
	if p.next(CaptureType); client.PlainKnown(uid) {
		t.Error("captured again and still known as plain")
	}
}

// FuzzResponse: whatever a controller sends, the store takes what is good, and every refusal has words.
func FuzzResponse(f *testing.F) {
	for _, r := range []*discovery.DeltaDiscoveryResponse{
		{TypeUrl: AddressType, Nonce: "1", Resources: []*discovery.Resource{resource(f, uid, "1", podOf(uid))}},
		{TypeUrl: AuthorizationType, Resources: []*discovery.Resource{resource(f, "shop/p", "1", &security.Authorization{Name: "p", Namespace: "shop"})}, RemovedResources: []string{"a/b"}},
		{TypeUrl: AddressType, RemovedResources: []string{uid, "shop/web"}},
		{TypeUrl: CaptureType, RemovedResources: []string{uid}},
	} {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var resp discovery.DeltaDiscoveryResponse
		if proto.Unmarshal(b, &resp) != nil {
			return
		}
		c, err := NewClient(ClientConfig{Dial: func(context.Context) (*grpc.ClientConn, error) { return nil, net.ErrClosed }, Node: &discovery.Node{}, Store: mesh.NewStore(mesh.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		s := &stream{client: c, seen: map[string]bool{}}
		errs := s.apply(&resp)
		if req := acknowledge(&resp, errs); (req.GetErrorDetail() != nil) != (len(errs) > 0) || len(req.GetErrorDetail().GetMessage()) > 2*maxDetail {
			t.Errorf("%d errors, answer %v", len(errs), req)
		}
	})
}
