package direct

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

const (
	patience  = 2 * time.Second // for the agent's answer
	maxAnswer = 1 << 16         // bytes
	maxAsked  = 48 << 10        // bytes of calls in one request
)

// errAgent is what the agent says that it could not do.
var errAgent = errors.New("the agent")

// link is the channel to the agent.
type link struct {
	conn *net.UnixConn
	buf  []byte
}

// newLink takes the descriptor over.
func newLink(fd int) (*link, error) {
	f := os.NewFile(uintptr(fd), "channel to the agent")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("channel to the agent: %w", err)
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("channel to the agent: not a unix socket"), c.Close())
	}
	return &link{conn: uc, buf: make([]byte, maxAnswer)}, nil
}

// ask sends one request and waits for the answer. After an error the link is of no use.
func (l *link) ask(req *pb.DirectRequest) (*pb.DirectResponse, error) {
	b, err := proto.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if err := l.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := l.conn.Write(b); err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	n, err := l.conn.Read(l.buf)
	if err != nil {
		return nil, fmt.Errorf("hear the agent: %w", err)
	}
	var out pb.DirectResponse
	if err := proto.Unmarshal(l.buf[:n], &out); err != nil {
		return nil, fmt.Errorf("understand the agent: %w", err)
	}
	if !out.GetAnswered() {
		return nil, errors.New("understand the agent: not an answer")
	}
	return &out, nil
}

// renew asks whether the agent is there.
func (l *link) renew() error {
	_, err := l.ask(&pb.DirectRequest{Payload: &pb.DirectRequest_Renew{Renew: &pb.RenewDirect{}}})
	return err
}

// allow, withdraw and end send calls in as many packets as it takes.

func (l *link) allow(generation uint64, calls []*pb.DirectCall) error {
	return l.inPackets(calls, func(part []*pb.DirectCall) *pb.DirectRequest {
		return &pb.DirectRequest{Payload: &pb.DirectRequest_Allow{Allow: &pb.AllowDirect{Generation: generation, Calls: part}}}
	})
}

func (l *link) withdraw(calls []*pb.DirectCall) error {
	return l.inPackets(calls, func(part []*pb.DirectCall) *pb.DirectRequest {
		return &pb.DirectRequest{Payload: &pb.DirectRequest_Withdraw{Withdraw: &pb.WithdrawDirect{Calls: part}}}
	})
}

func (l *link) end(calls []*pb.DirectCall) error {
	return l.inPackets(calls, func(part []*pb.DirectCall) *pb.DirectRequest {
		return &pb.DirectRequest{Payload: &pb.DirectRequest_End{End: &pb.EndDirect{Calls: part}}}
	})
}

// inPackets stops at what the agent could not do.
func (l *link) inPackets(calls []*pb.DirectCall, wrap func([]*pb.DirectCall) *pb.DirectRequest) error {
	for len(calls) > 0 {
		n, size := 0, 0
		for n < len(calls) && (n == 0 || size+proto.Size(calls[n]) < maxAsked) {
			size += proto.Size(calls[n]) + 4
			n++
		}
		resp, err := l.ask(wrap(calls[:n]))
		if err != nil {
			return err
		}
		if resp.GetError() != "" {
			return fmt.Errorf("%w: %s", errAgent, resp.GetError())
		}
		calls = calls[n:]
	}
	return nil
}

// read calls f for every account.
func (l *link) read(live bool, f func(*pb.DirectAccount)) error {
	for from := uint32(0); ; {
		resp, err := l.ask(&pb.DirectRequest{Payload: &pb.DirectRequest_Read{Read: &pb.ReadDirect{Live: live, From: from}}})
		if err != nil {
			return err
		}
		if resp.GetError() != "" {
			return fmt.Errorf("%w: %s", errAgent, resp.GetError())
		}
		for _, a := range resp.GetAccounts() {
			f(a)
		}
		from += uint32(len(resp.GetAccounts()))
		if !resp.GetMore() || len(resp.GetAccounts()) == 0 {
			return nil
		}
	}
}

// ended calls f for every connection that has ended since the last time.
func (l *link) ended(f func(*pb.DirectFlow)) error {
	return l.flows(func(int) *pb.DirectRequest {
		return &pb.DirectRequest{Payload: &pb.DirectRequest_Ended{Ended: &pb.EndedDirect{}}}
	}, f)
}

// live calls f for every running connection.
func (l *link) live(f func(*pb.DirectFlow)) error {
	return l.flows(func(seen int) *pb.DirectRequest {
		return &pb.DirectRequest{Payload: &pb.DirectRequest_Live{Live: &pb.LiveDirect{From: uint32(seen)}}}
	}, f)
}

func (l *link) flows(next func(seen int) *pb.DirectRequest, f func(*pb.DirectFlow)) error {
	for seen := 0; ; {
		resp, err := l.ask(next(seen))
		if err != nil {
			return err
		}
		if resp.GetError() != "" {
			return fmt.Errorf("%w: %s", errAgent, resp.GetError())
		}
		for _, e := range resp.GetFlows() {
			f(e)
		}
		seen += len(resp.GetFlows())
		if !resp.GetMore() {
			return nil
		}
	}
}
