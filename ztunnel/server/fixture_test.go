package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
	"github.com/ambitmesh/ambit/internal/xds"
	"github.com/ambitmesh/ambit/ztunnel/admin"
	"github.com/ambitmesh/ambit/ztunnel/certs/certstest"
	"github.com/ambitmesh/ambit/ztunnel/zds/zdstest"
)

// controller serves one workload and no policy.
type controller struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer

	mu       sync.Mutex
	node     *discovery.Node
	captured []string

	bearer, cluster string // headers of the last stream
}

func (c *controller) DeltaAggregatedResources(s discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	c.mu.Lock()
	c.bearer, c.cluster = strings.Join(md.Get("authorization"), ","), strings.Join(md.Get("clusterid"), ",")
	c.mu.Unlock()
	for {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		c.mu.Lock()
		if req.GetNode() != nil {
			c.node = req.GetNode()
		}
		if req.GetTypeUrl() == xds.CaptureType {
			c.captured = append(c.captured, req.GetResourceNamesSubscribe()...)
		}
		c.mu.Unlock()
		if req.GetResponseNonce() != "" {
			continue
		}
		resp := &discovery.DeltaDiscoveryResponse{TypeUrl: req.GetTypeUrl(), Nonce: "n", SystemVersionInfo: "1"}
		switch req.GetTypeUrl() {
		case xds.AddressType:
			if resp.Resources, err = oneWorkload(); err != nil {
				return err
			}
		case xds.CaptureType:
			for _, uid := range req.GetResourceNamesSubscribe() {
				resp.Resources = append(resp.Resources, &discovery.Resource{Name: uid, Version: "1"})
			}
		}
		if err := s.Send(resp); err != nil {
			return err
		}
	}
}

func oneWorkload() ([]*discovery.Resource, error) {
	const uid = "c1//Pod/shop/web-1"
	a, err := anypb.New(&workload.Address{Type: &workload.Address_Workload{Workload: &workload.Workload{
		Uid: uid, Name: "web-1", Namespace: "shop", ServiceAccount: "web", TrustDomain: "cluster.local", Addresses: [][]byte{{10, 0, 0, 1}}, Node: "n1",
	}}})
	return []*discovery.Resource{{Name: uid, Version: "1", Resource: a}}, err
}

// proxy is a Server under test.
type proxy struct {
	*Server
	t         *testing.T
	terminate chan struct{}
	cut       context.CancelFunc
	done      chan error
	log       *syncBuffer
}

// syncBuffer is a log that the test reads when something fails.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// freeAddr is free later too: nobody else uses this address of the loopback device.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func configOf(t *testing.T, ca *certstest.CA, dir, token string) Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{
		Node: "n1", RunDir: dir, ZDS: filepath.Join(dir, "zds", "zds.sock"), Controller: ca.Addr, ControllerRoot: ca.RootFile,
		JoinTokenFile: file, TrustDomain: "cluster.local", ClusterID: "c1", ReadyAddr: freeAddr(t), MetricsAddr: freeAddr(t), AdminAddr: freeAddr(t),
		DrainTime: time.Minute, AccessLog: filepath.Join(dir, "access.log"), Version: "v1", Level: &slog.LevelVar{}, Registry: prometheus.NewPedanticRegistry(),
	}
}

func start(t *testing.T, cfg Config) *proxy {
	t.Helper()
	p := &proxy{t: t, terminate: make(chan struct{}), done: make(chan error, 1), log: &syncBuffer{}}
	cfg.Log = slog.New(slog.NewTextHandler(p.log, nil))
	var err error
	if p.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.cut = cancel
	ended := make(chan struct{})
	go func() { defer close(ended); p.done <- p.Run(ctx, p.terminate) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Log(p.log)
		}
	})
	return p
}

// get asks the admin socket.
func (p *proxy) get(path string) (int, string) {
	p.t.Helper()
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", p.cfg.adminSocket())
	}}}
	resp, err := c.Get("http://localhost" + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (p *proxy) isReady() bool { code, _ := p.get("/healthz/ready"); return code == http.StatusOK }

func (p *proxy) dump() (d admin.Dump) {
	p.t.Helper()
	code, body := p.get("/config_dump")
	if err := json.Unmarshal([]byte(body), &d); code != http.StatusOK || err != nil {
		p.t.Fatalf("%d %v %s", code, err, body)
	}
	return d
}

// end waits for Run.
func (p *proxy) end() error {
	p.t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(time.Minute):
		p.t.Fatal("did not end")
		return nil
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

var (
	snapshotSent = &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_SnapshotSent{SnapshotSent: &pb.SnapshotSent{}}}
	drainNow     = &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Drain{Drain: &pb.Drain{}}}
	inherit      = func(has bool) *pb.WorkloadRequest {
		return &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Inherit{Inherit: &pb.Inherit{HasState: has}}}
	}
)

// welcome is an agent's first round with one pod. It returns the proxy's state.
func welcome(t *testing.T, s *zdstest.Session, state ...int) int {
	t.Helper()
	_, got := s.Must(inherit(len(state) > 0), state...)
	if len(got) != 1 {
		t.Fatalf("%d descriptors of state", len(got))
	}
	t.Cleanup(func() { unix.Close(got[0]) })
	add, fds := zdstest.Pod(t, "u1", "shop", "web-1", "web", [4]byte{10, 0, 0, 1})
	s.Must(add, fds...)
	s.Must(snapshotSent)
	return got[0]
}

func newWorld(t *testing.T) (*certstest.CA, *controller, string, *zdstest.Agent) {
	t.Helper()
	ctl := &controller{}
	ca := certstest.Start(t, "cluster.local", func(s *grpc.Server) { discovery.RegisterAggregatedDiscoveryServiceServer(s, ctl) })
	dir := t.TempDir()
	return ca, ctl, dir, zdstest.Listen(t, filepath.Join(dir, "zds", "zds.sock"))
}

func certificateState(d admin.Dump, uri string) string {
	for _, c := range d.Certificates {
		if c.Identity == uri {
			return c.State
		}
	}
	return ""
}
