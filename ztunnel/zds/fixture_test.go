package zds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// recorder is a Handler that notes what it is asked.
type recorder struct {
	t testing.TB

	mu    sync.Mutex
	calls []string
	pods  []Pod
	give  Sockets
	own   *os.File
	fail  error
}

func (r *recorder) note(format string, args ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
	return r.fail
}

func (r *recorder) Begin() { r.note("begin") }
func (r *recorder) End()   { r.note("end") }

func (r *recorder) Add(p Pod) error {
	r.mu.Lock()
	r.pods = append(r.pods, p)
	r.mu.Unlock()
	r.t.Cleanup(p.Close)
	return r.note("add %s", p.UID)
}
func (r *recorder) Del(uid string) error    { return r.note("del %s", uid) }
func (r *recorder) Keep(uid string) error   { return r.note("keep %s", uid) }
func (r *recorder) SnapshotSent() error     { return r.note("snapshot") }
func (r *recorder) Retire(uid string) error { return r.note("retire %s", uid) }
func (r *recorder) Direct(gate, channel int) error {
	closeAll([]int{gate, channel})
	return r.note("direct")
}
func (r *recorder) Drain() error { return r.note("drain") }
func (r *recorder) Return(uid string) (Sockets, error) {
	return r.give, r.note("return %s", uid)
}

func (r *recorder) Query(uid string) (State, error) {
	return State{Connections: 3, PlainKnown: true, Idle: 5 * time.Second, Waiting: "certificate"}, r.note("query %s", uid)
}

func (r *recorder) Inherit(old *os.File) (*os.File, error) {
	text := "none"
	if old != nil {
		b := make([]byte, 16)
		n, _ := old.ReadAt(b, 0)
		text = string(b[:n])
		old.Close()
	}
	return r.own, r.note("inherit %s", text)
}

func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// agent is the other end, played by the test.
type agent struct {
	t testing.TB
	*net.UnixConn
}

func listen(t *testing.T) (string, *net.UnixListener) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zds.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return path, l
}

// run starts a client for h and returns it with the listener that it calls.
func run(t *testing.T, h Handler) (*Client, *net.UnixListener) {
	t.Helper()
	path, l := listen(t)
	c := &Client{Path: path, Instance: "one", Build: "test", Handler: h, Log: slog.New(slog.DiscardHandler), MaxBackoff: 20 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return c, l
}

func accept(t *testing.T, l *net.UnixListener) *agent {
	t.Helper()
	if err := l.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	a := &agent{t, c}
	var hello pb.ZdsHello
	a.read(&hello)
	if hello.GetVersion() != pb.Version_V2 || hello.GetInstance() != "one" || hello.GetBuild() != "test" {
		t.Fatalf("hello %v", &hello)
	}
	return a
}

func (a *agent) read(m proto.Message) []int {
	a.t.Helper()
	if err := a.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		a.t.Fatal(err)
	}
	b, fds, bad, err := receive(a.UnixConn)
	if err := errors.Join(bad, err); err != nil {
		a.t.Fatal(err)
	}
	if err := proto.Unmarshal(b, m); err != nil {
		a.t.Fatal(err)
	}
	return fds
}

// ask sends a request and returns the one answer.
func (a *agent) ask(m proto.Message, fds ...int) (*pb.Ack, []int) {
	a.t.Helper()
	if err := send(a.UnixConn, m, fds); err != nil {
		a.t.Fatal(err)
	}
	var resp pb.WorkloadResponse
	got := a.read(&resp)
	if resp.GetAck() == nil {
		a.t.Fatal("an answer without an ack")
	}
	return resp.GetAck(), got
}

func addOf(uid string, v6 bool) *pb.WorkloadRequest {
	return &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Add{Add: &pb.AddWorkload{
		Uid:          uid,
		WorkloadInfo: &pb.WorkloadInfo{Name: "web", Namespace: "shop", ServiceAccount: "web", Addresses: [][]byte{{10, 0, 0, 1}}},
		Listeners:    &pb.ListenerSet{V6: v6, Mark: 77},
	}}}
}

// files opens n descriptors of a file.
func files(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	for range n {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		out = append(out, int(f.Fd()))
	}
	return out
}
