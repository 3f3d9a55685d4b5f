// Package zdstest plays the agent at the other end of ZDS.
package zdstest

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

const patience = 20 * time.Second

// Agent is a listening socket.
type Agent struct {
	t testing.TB
	l *net.UnixListener
}

// Listen makes the socket, and its directory.
func Listen(tb testing.TB, path string) *Agent {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		tb.Fatal(err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return &Agent{tb, l}
}

// Session is one proxy's connection.
type Session struct {
	t testing.TB
	c *net.UnixConn

	Hello *pb.ZdsHello
}

// Accept waits for a proxy and its Hello.
func (a *Agent) Accept() *Session {
	a.t.Helper()
	if err := a.l.SetDeadline(time.Now().Add(patience)); err != nil {
		a.t.Fatal(err)
	}
	c, err := a.l.AcceptUnix()
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	s := &Session{t: a.t, c: c, Hello: &pb.ZdsHello{}}
	s.receive(s.Hello)
	return s
}

// Close ends the session.
func (s *Session) Close() { s.c.Close() }

// Ask sends a request with descriptors, which stay the caller's, and returns the answer and its
// descriptors, which become the caller's.
func (s *Session) Ask(m *pb.WorkloadRequest, fds ...int) (*pb.Ack, []int) {
	s.t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := s.c.WriteMsgUnix(b, oob, nil); err != nil {
		s.t.Fatal(err)
	}
	var resp pb.WorkloadResponse
	got := s.receive(&resp)
	return resp.GetAck(), got
}

// Must is Ask for what the proxy must not refuse.
func (s *Session) Must(m *pb.WorkloadRequest, fds ...int) (*pb.Ack, []int) {
	s.t.Helper()
	ack, got := s.Ask(m, fds...)
	if ack.GetError() != "" {
		s.t.Fatalf("%v: refused: %s", m, ack.GetError())
	}
	return ack, got
}

func (s *Session) receive(m proto.Message) (fds []int) {
	s.t.Helper()
	if err := s.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	b, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*16))
	n, oobn, _, _, err := s.c.ReadMsgUnix(b, oob)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := proto.Unmarshal(b[:n], m); err != nil {
		s.t.Fatal(err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			s.t.Fatal(err)
		}
		fds = append(fds, got...)
	}
	return fds
}

// Pod makes an Add for a pod with one IPv4 address, in the network namespace of the caller, and its
// descriptors, which live as long as the test.
func Pod(tb testing.TB, uid, namespace, name, account string, addr [4]byte) (*pb.WorkloadRequest, []int) {
	tb.Helper()
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	fds := []int{ns}
	for range 3 { // inbound, outbound, hbone
		fds = append(fds, listener(tb))
	}
	tb.Cleanup(func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	return &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Add{Add: &pb.AddWorkload{
		Uid:          uid,
		WorkloadInfo: &pb.WorkloadInfo{Name: name, Namespace: namespace, ServiceAccount: account, Addresses: [][]byte{addr[:]}},
		Listeners:    &pb.ListenerSet{Mark: 1},
	}}}, fds
}

func listener(tb testing.TB) int {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return fd
}
