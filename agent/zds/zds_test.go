package zds

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

type handler struct {
	admit func(Peer) error
	serve func(context.Context, *Session)
}

func (h handler) Admit(p Peer) error                    { return h.admit(p) }
func (h handler) Serve(ctx context.Context, s *Session) { h.serve(ctx, s) }

// start runs a server and connects to it.
func start(t *testing.T, h handler) *net.UnixConn {
	t.Helper()
	path, dial := startServer(t, h, func() {})
	return dial(t, path)
}

func startServer(t *testing.T, h handler, refused func()) (path string, dial func(*testing.T, string) *net.UnixConn) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "zds", "zds.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := &Server{Log: slog.New(slog.DiscardHandler), Handler: h, Now: time.Now, Refused: refused}
	go func() { done <- s.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %o", p, info.Mode(), err, want)
		}
	}
	return path, call
}

func call(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t *testing.T, c *net.UnixConn, m proto.Message) {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func anyone(Peer) error { return nil }

func TestRequestCarriesDescriptorsAndIsAnswered(t *testing.T) {
	result := make(chan error, 1)
	c := start(t, handler{anyone, func(ctx context.Context, s *Session) {
		f, err := os.Open("/dev/null")
		if err != nil {
			result <- err
			return
		}
		defer f.Close()
		req := &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Add{Add: &pb.AddWorkload{Uid: "u"}}}
		ack, _, err := s.Do(ctx, req, int(f.Fd()))
		if err == nil && ack.GetPod().GetConnections() != 7 {
			err = errors.New("wrong answer")
		}
		result <- err
	}})
	write(t, c, &pb.ZdsHello{Version: pb.Version_V2, Instance: "x"})
	b, fds, err := receive(c)
	if err != nil || len(fds) != 1 {
		t.Fatalf("receive: %v, %d descriptors", err, len(fds))
	}
	defer unix.Close(fds[0])
	var req pb.WorkloadRequest
	if err := proto.Unmarshal(b, &req); err != nil || req.GetAdd().GetUid() != "u" {
		t.Errorf("got %v %v", &req, err)
	}
	write(t, c, &pb.WorkloadResponse{Payload: &pb.WorkloadResponse_Ack{Ack: &pb.Ack{Pod: &pb.PodState{Connections: 7}}}})
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestSessionEndsOnBadPeers(t *testing.T) {
	tests := []struct {
		name  string
		admit func(Peer) error
		send  []byte
	}{
		{"not admitted", func(Peer) error { return errors.New("no") }, nil},
		{"garbage hello", anyone, []byte{0xff, 0xff}},
		{"version 9", anyone, []byte{8, 9}},
		{"too large", anyone, make([]byte, maxPacket+1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, handler{tt.admit, func(context.Context, *Session) { t.Error("was served") }})
			if tt.send != nil {
				if _, err := c.Write(tt.send); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := receive(c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("connection stands: %v", err)
			}
		})
	}
}

func TestRefusalIsAnErrorAndTheSessionStands(t *testing.T) {
	result := make(chan error, 1)
	c := start(t, handler{anyone, func(ctx context.Context, s *Session) {
		_, _, err := s.Do(ctx, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_SnapshotSent{SnapshotSent: &pb.SnapshotSent{}}})
		if !s.Alive() {
			err = errors.New("session ended")
		}
		result <- err
	}})
	write(t, c, &pb.ZdsHello{Version: pb.Version_V1})
	if _, _, err := receive(c); err != nil {
		t.Fatal(err)
	}
	write(t, c, &pb.WorkloadResponse{Payload: &pb.WorkloadResponse_Ack{Ack: &pb.Ack{Error: "no room"}}})
	if err := <-result; !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
}

func FuzzParseHello(f *testing.F) {
	f.Add([]byte{8, 1})
	f.Add([]byte{8, 2, 0x82, 1, 1, 'x'})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHello(b)
		if err != nil {
			return
		}
		if h.Version < 1 || h.Version > 2 || len(h.Instance) > maxWord || len(h.Build) > maxWord {
			t.Errorf("accepted %+v", h)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	for _, a := range []*pb.Ack{{}, {Error: "no"}, {Listeners: &pb.ListenerSet{V6: true, Mark: 1}}, {Pod: &pb.PodState{Connections: 1, IdleMs: 5}}} {
		b, err := proto.Marshal(&pb.WorkloadResponse{Payload: &pb.WorkloadResponse_Ack{Ack: a}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseResponse(b)
		if err == nil && a.GetPod().GetIdleMs() < 0 {
			t.Errorf("accepted %v", a)
		}
	})
}

func FuzzRights(f *testing.F) {
	f.Add(unix.UnixRights())
	f.Add([]byte{1, 2, 3})
	f.Add(unix.UnixCredentials(&unix.Ucred{Pid: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Parsed only, never closed: the numbers are made up.
		if _, err := rights(b); err != nil && !errors.Is(err, ErrProtocol) {
			t.Errorf("unexpected error: %v", err)
		}
	})
}

func TestAnswerThatNobodyAskedForEndsTheSession(t *testing.T) {
	served := make(chan *Session, 1)
	c := start(t, handler{anyone, func(ctx context.Context, s *Session) { served <- s; <-s.Done() }})
	write(t, c, &pb.ZdsHello{Version: pb.Version_V2, Instance: "x"})
	s := <-served
	write(t, c, &pb.WorkloadResponse{Payload: &pb.WorkloadResponse_Ack{Ack: &pb.Ack{Pod: &pb.PodState{PlainKnown: true}}}})
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Fatal("the session stands: the answer would be taken for the next request's")
	}
	if _, _, err := s.Do(t.Context(), &pb.WorkloadRequest{}); err == nil {
		t.Error("a request on an ended session was answered")
	}
}

func TestFloodLeavesRoomForOne(t *testing.T) {
	served := make(chan string, 64)
	var refused atomic.Int64
	path, dial := startServer(t, handler{anyone, func(_ context.Context, s *Session) { served <- s.Hello.Instance; <-s.Done() }}, func() { refused.Add(1) })
	for range 2 * maxSessions { // they say nothing
		dial(t, path)
	}
	for end := time.Now().Add(time.Minute); refused.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody was refused")
		}
	}
	// As soon as one of the silent ones is timed out a good one is served.
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		c := dial(t, path)
		b, err := proto.Marshal(&pb.ZdsHello{Version: pb.Version_V2, Instance: "good"})
		if err != nil {
			t.Fatal(err)
		}
		c.Write(b) // an error: refused, the next one then
		select {
		case who := <-served:
			if who != "good" {
				t.Errorf("%q was served", who)
			}
			return
		case <-time.After(time.Second):
		}
		if time.Now().After(end) {
			t.Fatal("the good one was never served")
		}
	}
}

func FuzzParseDirect(f *testing.F) {
	call := &pb.DirectCall{Source: "u", Address: []byte{10, 0, 0, 1}, Port: 80, Places: []*pb.DirectPlace{{Uid: "v", Address: make([]byte, 16), Port: 1}}}
	for _, m := range []*pb.DirectRequest{
		{}, {Payload: &pb.DirectRequest_Renew{Renew: &pb.RenewDirect{}}}, {Payload: &pb.DirectRequest_Read{Read: &pb.ReadDirect{From: 7}}},
		{Payload: &pb.DirectRequest_Allow{Allow: &pb.AllowDirect{Generation: 1, Calls: []*pb.DirectCall{call}}}},
		{Payload: &pb.DirectRequest_End{End: &pb.EndDirect{Calls: []*pb.DirectCall{call}}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseDirect(b)
		if err != nil {
			return
		}
		for _, c := range m.GetAllow().GetCalls() {
			if !CallTo(c).IsValid() || len(c.GetPlaces()) > maxPlaces {
				t.Errorf("accepted %v", c)
			}
			for _, p := range c.GetPlaces() {
				if !PlaceAt(p).IsValid() || p.GetUid() == "" {
					t.Errorf("accepted %v", c)
				}
			}
		}
	})
}
