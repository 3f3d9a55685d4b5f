package istio

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
	"github.com/ambitmesh/ambit/tests/bench/peers/nft"
)

func TestRulesAreUnderstood(t *testing.T) {
	err := nft.Check(t.Context(), rules)
	if errors.Is(err, nft.ErrCannotCheck) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hello connects to a ZDS socket as a ztunnel does.
func hello(t *testing.T, socket string, version pb.Version) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	b, err := proto.Marshal(&pb.ZdsHello{Version: version, Instance: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// The snapshot comes first, and is empty; only a ztunnel of version 1 gets one, and only the first.
func TestPodsAreForOneZtunnelOfVersionOne(t *testing.T) {
	life, end := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	t.Cleanup(tasks.Wait)
	t.Cleanup(end)
	socket := filepath.Join(t.TempDir(), "zds", "s")
	p, err := servePods(life, socket, &tasks)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1024)
	if n, err := hello(t, socket, pb.Version_V2).Read(b); n > 0 || err == nil {
		t.Errorf("version 2 got %d bytes, %v", n, err)
	}
	first := hello(t, socket, pb.Version_V1)
	n, err := first.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	var req pb.WorkloadRequest
	if err := proto.Unmarshal(b[:n], &req); err != nil || req.GetSnapshotSent() == nil {
		t.Fatalf("first request %v, %v", &req, err)
	}
	ack, err := proto.Marshal(&pb.WorkloadResponse{Payload: &pb.WorkloadResponse_Ack{Ack: &pb.Ack{}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Write(ack); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ready:
	case <-time.After(20 * time.Second):
		t.Fatal("the ztunnel has acknowledged, and pods still wait")
	}
	if n, err := hello(t, socket, pb.Version_V1).Read(b); n > 0 || err == nil {
		t.Errorf("a second ztunnel got %d bytes, %v", n, err)
	}
}
