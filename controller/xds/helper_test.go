package xds

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/xds"
)

// world is a server with a cache, over a connection in memory. A stream's "node" header says who it is. Its
// clock stands still until the test lets it run: however slow the machine, nothing happens by time alone.
type world struct {
	t      testing.TB
	cache  *Cache
	caps   *Captures
	clock  *clock
	server *Server
	conn   *grpc.ClientConn
}

func newWorld(t testing.TB, mutate func(*Config, *CaptureOptions)) *world {
	t.Helper()
	clk := &clock{t: time.Now()}
	cfg := Config{Cache: NewCache(), Now: clk.now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Identify: func(ctx context.Context) (Caller, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		return Caller{Node: md.Get("node")[0]}, nil
	}}
	opts := CaptureOptions{Now: clk.now}
	if mutate != nil {
		mutate(&cfg, &opts)
	}
	cfg.Captures = NewCaptures(opts)
	cfg.Captures.Restore(nil) // nothing is missing
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 20)
	g := grpc.NewServer(grpc.WaitForHandlers(true))
	discovery.RegisterAggregatedDiscoveryServiceServer(g, s)
	go g.Serve(l) // ends with Stop
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &world{t: t, cache: cfg.Cache, caps: cfg.Captures, clock: clk, server: s, conn: conn}
}

// proxyStream is a hand-driven proxy.
type proxyStream struct {
	t   testing.TB
	ads discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	in  chan *discovery.DeltaDiscoveryResponse
	end chan error
}

func (w *world) open(node string) *proxyStream {
	w.t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "node", node))
	w.t.Cleanup(cancel)
	ads, err := discovery.NewAggregatedDiscoveryServiceClient(w.conn).DeltaAggregatedResources(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &proxyStream{t: w.t, ads: ads, in: make(chan *discovery.DeltaDiscoveryResponse, 1000), end: make(chan error, 1)}
	go func() {
		for {
			resp, err := ads.Recv()
			if err != nil {
				p.end <- err
				return
			}
			p.in <- resp
		}
	}()
	return p
}

func (p *proxyStream) send(req *discovery.DeltaDiscoveryRequest) {
	p.t.Helper()
	if err := p.ads.Send(req); err != nil {
		p.t.Fatal(err)
	}
}

// both subscribes to addresses and policies, in the proxies' order.
func (p *proxyStream) both(seen string, has, policies map[string]string) {
	p.t.Helper()
	n := &discovery.Node{Id: "ztunnel~1.2.3.4~x.y~y.svc"}
	if seen != "" {
		s, err := structpb.NewStruct(map[string]any{xds.SeenKey: map[string]any{AddressType: seen, AuthorizationType: seen}})
		if err != nil {
			p.t.Fatal(err)
		}
		n.Metadata = s
	}
	p.send(&discovery.DeltaDiscoveryRequest{Node: n, TypeUrl: AddressType, InitialResourceVersions: has})
	p.send(&discovery.DeltaDiscoveryRequest{TypeUrl: AuthorizationType, InitialResourceVersions: policies})
}

func (p *proxyStream) next() *discovery.DeltaDiscoveryResponse {
	p.t.Helper()
	select {
	case r := <-p.in:
		return r
	case err := <-p.end:
		p.t.Fatalf("the stream ended: %v", err)
	case <-time.After(time.Minute):
		p.t.Fatal("nothing came in a minute")
	}
	return nil
}

// want takes the next response and checks what is in it.
func (p *proxyStream) want(typeURL string, resources, removed []string) *discovery.DeltaDiscoveryResponse {
	p.t.Helper()
	r := p.next()
	if r.GetTypeUrl() != typeURL || !same(names(r), resources) || !same(r.GetRemovedResources(), removed) {
		p.t.Fatalf("got %s +%v -%v, want %s +%v -%v", r.GetTypeUrl(), names(r), r.GetRemovedResources(), typeURL, resources, removed)
	}
	return r
}

func names(r *discovery.DeltaDiscoveryResponse) (out []string) {
	for _, x := range r.GetResources() {
		out = append(out, x.GetName())
	}
	return out
}

func same(a, b []string) bool {
	in := map[string]int{}
	for _, x := range a {
		in[x]++
	}
	for _, x := range b {
		in[x]--
	}
	for _, n := range in {
		if n != 0 {
			return false
		}
	}
	return true
}

func (p *proxyStream) ack(r *discovery.DeltaDiscoveryResponse) {
	p.t.Helper()
	p.send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()})
}

// quiet checks that nothing comes for a while.
func (p *proxyStream) quiet(d time.Duration) {
	p.t.Helper()
	select {
	case r := <-p.in:
		p.t.Fatalf("came unasked: %s +%v -%v", r.GetTypeUrl(), names(r), r.GetRemovedResources())
	case err := <-p.end:
		p.t.Fatalf("the stream ended: %v", err)
	case <-time.After(d):
	}
}

func address(t testing.TB, uid, marker string) Resource {
	t.Helper()
	r, err := NewResource(uid, &workload.Address{Type: &workload.Address_Workload{Workload: &workload.Workload{Uid: uid, Name: marker}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func policy(t testing.TB, name, marker string) Resource {
	t.Helper()
	r, err := NewResource(name, &security.Authorization{Name: marker})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) apply(v Versions, addresses, policies []Resource, goneAddresses, gonePolicies []string) uint64 {
	return w.cache.Apply(v, Change{AuthorizationType, policies, gonePolicies}, Change{AddressType, addresses, goneAddresses})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in a minute: %s", what)
}
