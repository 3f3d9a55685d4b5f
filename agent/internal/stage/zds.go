package stage

import (
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// session speaks with one agent until it is gone.
func (x *Proxy) session() error {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: x.path, Net: "unixpacket"})
	if err != nil {
		return err
	}
	defer c.Close()
	x.mu.Lock()
	x.named, x.whole = nil, nil
	x.mu.Unlock()
	if err := send(c, &pb.ZdsHello{Version: pb.Version_V2, Instance: x.instance, Build: "stage"}, nil); err != nil {
		return err
	}
	for {
		var req pb.WorkloadRequest
		fds, err := receive(c, &req)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		ack, back, err := x.answer(&req, fds)
		if err != nil {
			ack = &pb.Ack{Error: err.Error()}
		}
		if err := send(c, &pb.WorkloadResponse{Payload: &pb.WorkloadResponse_Ack{Ack: ack}}, back); err != nil {
			return err
		}
	}
}

// answer does what a request asks. It takes the descriptors over; those returned stay the proxy's.
func (x *Proxy) answer(req *pb.WorkloadRequest, fds []int) (*pb.Ack, []int, error) {
	switch r := req.GetPayload().(type) {
	case *pb.WorkloadRequest_Add:
		ls := r.Add.GetListeners()
		x.mu.Lock()
		x.named = append(x.named, r.Add.GetUid())
		x.mu.Unlock()
		return &pb.Ack{}, nil, x.take(r.Add.GetUid(), ls.GetV6(), ls.GetMark(), fds)
	case *pb.WorkloadRequest_Del:
		x.mu.Lock()
		defer x.mu.Unlock()
		x.dropLocked(r.Del.GetUid())
	case *pb.WorkloadRequest_SnapshotSent:
		x.mu.Lock()
		defer x.mu.Unlock()
		x.whole, x.named = append([]string{}, x.named...), nil
	case *pb.WorkloadRequest_ReturnListeners:
		return x.giveBack(r.ReturnListeners.GetUid())
	case *pb.WorkloadRequest_Query:
		return x.state(r.Query.GetUid())
	case *pb.WorkloadRequest_OpenDirect:
		return &pb.Ack{}, nil, x.open(fds)
	case *pb.WorkloadRequest_Drain:
		x.mu.Lock()
		defer x.mu.Unlock()
		x.drained = true
		for _, p := range x.pods {
			for _, stop := range p.stops {
				stop()
			}
			p.stops = nil
		}
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	return &pb.Ack{}, nil, nil
}

func (x *Proxy) giveBack(uid string) (*pb.Ack, []int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.pods[uid]
	if p == nil || x.manners.Forgetful {
		return nil, nil, errors.New("no such pod")
	}
	fds := []int{int(p.ns.File().Fd())}
	v6 := false
	for _, l := range p.set {
		fds = append(fds, l.FD)
		v6 = v6 || l.V6
	}
	return &pb.Ack{Listeners: &pb.ListenerSet{V6: v6, Mark: p.mark}}, fds, nil
}

func (x *Proxy) state(uid string) (*pb.Ack, []int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.pods[uid]
	if p == nil {
		return nil, nil, errors.New("no such pod")
	}
	return &pb.Ack{Pod: &pb.PodState{
		Connections: uint64(p.conns.Load()), PlainKnown: x.manners.PlainKnown, Waiting: x.manners.Waiting, IdleMs: time.Now().UnixMilli() - p.last.Load(),
	}}, nil, nil
}

func send(c *net.UnixConn, m proto.Message, fds []int) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(b, oob, nil)
	return err
}

func receive(c *net.UnixConn, m proto.Message) ([]int, error) {
	b, oob := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(4*16))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return nil, err
		}
		fds = slices.Concat(fds, got)
	}
	return fds, proto.Unmarshal(b[:n], m)
}
