package zds

import (
	"fmt"
	"net"
	"os"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// session is one connection to the agent.
type session struct {
	conn    *net.UnixConn
	handler Handler
	served  bool
}

// run answers requests until the connection ends.
func (s *session) run() error {
	s.handler.Begin()
	defer s.handler.End()
	for {
		b, fds, bad, err := receive(s.conn)
		if err != nil {
			return fmt.Errorf("receive from agent: %w", err)
		}
		s.served = true
		ack, out, err := s.answer(b, fds, bad)
		if err := send(s.conn, response(ack, err), out); err != nil {
			return fmt.Errorf("answer the agent: %w", err)
		}
	}
}

// answer judges one packet. The descriptors out stay the handler's.
func (s *session) answer(b []byte, fds []int, bad error) (ack *pb.Ack, out []int, err error) {
	if bad != nil {
		return nil, nil, bad
	}
	req, err := ParseRequest(b, len(fds))
	if err != nil {
		closeAll(fds)
		return nil, nil, err
	}
	ack = &pb.Ack{}
	switch p := req.GetPayload().(type) {
	case *pb.WorkloadRequest_Add:
		err = s.add(p.Add, fds)
	case *pb.WorkloadRequest_Del:
		err = s.handler.Del(p.Del.GetUid())
	case *pb.WorkloadRequest_Keep:
		err = s.handler.Keep(p.Keep.GetUid())
	case *pb.WorkloadRequest_SnapshotSent:
		err = s.handler.SnapshotSent()
	case *pb.WorkloadRequest_ReturnListeners:
		ack.Listeners, out, err = s.give(p.ReturnListeners.GetUid())
	case *pb.WorkloadRequest_Retire:
		err = s.handler.Retire(p.Retire.GetUid())
	case *pb.WorkloadRequest_Query:
		ack.Pod, err = s.query(p.Query.GetUid())
	case *pb.WorkloadRequest_Drain:
		err = s.handler.Drain()
	case *pb.WorkloadRequest_OpenDirect:
		err = s.handler.Direct(fds[0], fds[1])
	case *pb.WorkloadRequest_Inherit:
		out, err = s.inherit(fds)
	}
	return ack, out, err
}

func (s *session) add(m *pb.AddWorkload, fds []int) error {
	p, err := pod(m, fds)
	if err != nil {
		closeAll(fds)
		return err
	}
	return s.handler.Add(p)
}

func (s *session) give(uid string) (*pb.ListenerSet, []int, error) {
	k, err := s.handler.Return(uid)
	if err != nil {
		return nil, nil, err
	}
	return &pb.ListenerSet{V6: k.V6, Mark: k.Mark}, append([]int{k.NetNS}, k.Listeners...), nil
}

func (s *session) query(uid string) (*pb.PodState, error) {
	st, err := s.handler.Query(uid)
	if err != nil {
		return nil, err
	}
	return &pb.PodState{Connections: st.Connections, PlainKnown: st.PlainKnown, IdleMs: max(0, st.Idle.Milliseconds()), Waiting: st.Waiting}, nil
}

func (s *session) inherit(fds []int) ([]int, error) {
	var old *os.File
	if len(fds) == 1 {
		old = os.NewFile(uintptr(fds[0]), "state of the proxy before")
	}
	own, err := s.handler.Inherit(old)
	if err != nil || own == nil {
		return nil, err
	}
	return []int{int(own.Fd())}, nil
}
