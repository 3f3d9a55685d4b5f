package zds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// Limits on what a proxy asks on the channel for direct connections.
const (
	maxDirect = 1 << 16 // bytes of a packet
	maxPlaces = 8
	maxUID    = 253
)

// Channel is the agent's end of the channel that OpenDirect hands over.
type Channel struct{ conn *net.UnixConn }

// OpenDirect offers direct connections to a proxy; gate stays the caller's. An error that is ErrRefused
// means that the proxy does not want them.
func (s *Session) OpenDirect(ctx context.Context, gate int) (*Channel, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	req := &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_OpenDirect{OpenDirect: &pb.OpenDirect{}}}
	_, fds, err := s.Do(ctx, req, gate, int(theirs.Fd()))
	closeFDs(fds)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("offer direct connections: %w", err), ours.Close())
	}
	return &Channel{ours}, nil
}

func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make channel: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "channel")
	f := os.NewFile(uintptr(fds[0]), "channel")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make channel: %w", err), theirs.Close())
	}
	ours, ok := c.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.Join(errors.New("make channel: not a unix socket"), c.Close(), theirs.Close())
	}
	return ours, theirs, nil
}

// Close ends the channel: the proxy notices.
func (c *Channel) Close() error { return c.conn.Close() }

// Serve answers until the channel ends. A request that is not understood ends it.
func (c *Channel) Serve(answer func(*pb.DirectRequest) *pb.DirectResponse) error {
	b := make([]byte, maxDirect+1)
	for {
		n, err := c.conn.Read(b)
		if err != nil {
			return fmt.Errorf("read from channel: %w", err)
		}
		req, err := ParseDirect(b[:n])
		if err != nil {
			return err
		}
		resp := answer(req)
		resp.Answered = true
		out, err := proto.Marshal(resp)
		if err != nil {
			return err
		}
		if _, err := c.conn.Write(out); err != nil {
			return fmt.Errorf("write to channel: %w", err)
		}
	}
}

// ParseDirect reads a request and checks all that can be checked without knowing the pods.
func ParseDirect(b []byte) (*pb.DirectRequest, error) {
	var m pb.DirectRequest
	if len(b) > maxDirect {
		return nil, fmt.Errorf("%w: direct request of more than %d bytes", ErrProtocol, maxDirect)
	}
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: direct request: %w", ErrProtocol, err)
	}
	var calls []*pb.DirectCall
	switch p := m.GetPayload().(type) {
	case *pb.DirectRequest_Renew, *pb.DirectRequest_Read, *pb.DirectRequest_Ended, *pb.DirectRequest_Live:
	case *pb.DirectRequest_Allow:
		calls = p.Allow.GetCalls()
	case *pb.DirectRequest_Withdraw:
		calls = p.Withdraw.GetCalls()
	case *pb.DirectRequest_End:
		calls = p.End.GetCalls()
	default:
		return nil, fmt.Errorf("%w: direct request of an unknown kind", ErrProtocol)
	}
	for _, c := range calls {
		if err := checkCall(c); err != nil {
			return nil, err
		}
	}
	return &m, nil
}

func checkCall(c *pb.DirectCall) error {
	if !CallTo(c).IsValid() || c.GetSource() == "" || len(c.GetSource()) > maxUID || len(c.GetPlaces()) > maxPlaces {
		return fmt.Errorf("%w: direct call %.200v", ErrProtocol, c)
	}
	for _, p := range c.GetPlaces() {
		if !PlaceAt(p).IsValid() || p.GetUid() == "" || len(p.GetUid()) > maxUID {
			return fmt.Errorf("%w: direct place %.200v", ErrProtocol, p)
		}
	}
	return nil
}

// CallTo is what is called; invalid if it is no address and port.
func CallTo(c *pb.DirectCall) netip.AddrPort { return addrPort(c.GetAddress(), c.GetPort()) }

// PlaceAt is the place's address; invalid if it is no address and port.
func PlaceAt(p *pb.DirectPlace) netip.AddrPort { return addrPort(p.GetAddress(), p.GetPort()) }

func addrPort(b []byte, port uint32) netip.AddrPort {
	a, ok := netip.AddrFromSlice(b)
	if !ok || port == 0 || port > 65535 || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}
