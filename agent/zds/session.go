package zds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// answerTime is how long a proxy may think about one request.
const answerTime = 5 * time.Second

// ErrRefused is a proxy's Ack with an error text.
var ErrRefused = errors.New("the proxy refused")

// Session is one proxy's connection.
type Session struct {
	Peer  Peer
	Hello Hello
	Since time.Time

	conn    *net.UnixConn
	turn    sync.Mutex  // one request at a time
	asked   atomic.Bool // and its answer has not come
	answers chan answer
	done    chan struct{}
}

type answer struct {
	ack *pb.Ack
	fds []int
	err error
}

// Done is closed when the connection has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Alive says whether the connection still stands.
func (s *Session) Alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Close ends the connection.
func (s *Session) Close() error { return s.conn.Close() }

// Do sends a request with descriptors, which stay the caller's, and waits for the answer, whose
// descriptors become the caller's. An unanswered request ends the session: answers carry no number.
func (s *Session) Do(ctx context.Context, req *pb.WorkloadRequest, fds ...int) (*pb.Ack, []int, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.asked.Store(true)
	if err := s.send(req, fds); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("send to proxy %d: %w", s.Peer.PID, err), s.conn.Close())
	}
	timer := time.NewTimer(answerTime)
	defer timer.Stop()
	select {
	case a := <-s.answers:
		return a.result()
	case <-s.done:
		return nil, nil, fmt.Errorf("proxy %d: %w", s.Peer.PID, net.ErrClosed)
	case <-ctx.Done():
		return nil, nil, errors.Join(ctx.Err(), s.conn.Close())
	case <-timer.C:
		return nil, nil, errors.Join(fmt.Errorf("proxy %d did not answer within %s", s.Peer.PID, answerTime), s.conn.Close())
	}
}

func (a answer) result() (*pb.Ack, []int, error) {
	err := a.err
	if err == nil && a.ack.GetError() != "" {
		err = fmt.Errorf("%w: %s", ErrRefused, a.ack.GetError())
	}
	if err != nil {
		closeFDs(a.fds)
		return nil, nil, err
	}
	return a.ack, a.fds, nil
}

func (s *Session) send(req *pb.WorkloadRequest, fds []int) error {
	b, err := proto.Marshal(req)
	if err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	_, _, err = s.conn.WriteMsgUnix(b, oob, nil)
	return err
}

// read owns the receiving side until the connection ends. A packet that nobody asked for ends it.
func (s *Session) read() {
	defer close(s.done)
	for {
		b, fds, err := receive(s.conn)
		if err != nil {
			return
		}
		a := answer{fds: fds}
		a.ack, a.err = ParseResponse(b)
		if !s.asked.CompareAndSwap(true, false) {
			closeFDs(fds)
			s.conn.Close()
			return
		}
		s.answers <- a // never blocks: one question, one answer, and Do takes it or ends the session
		if a.err != nil {
			s.conn.Close()
			return
		}
	}
}

// leave gives up what came too late for Do.
func (s *Session) leave() {
	select {
	case a := <-s.answers:
		closeFDs(a.fds)
	default:
	}
}

// receive reads one packet with its descriptors, which become the caller's.
func receive(c *net.UnixConn) ([]byte, []int, error) {
	b := make([]byte, maxPacket)
	oob := make([]byte, unix.CmsgSpace(4*maxFDs))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, nil, err
	}
	fds, err := rights(oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("%w: packet or its descriptors too large", ErrProtocol)
	}
	if err != nil {
		closeFDs(fds)
		return nil, nil, err
	}
	return b[:n], fds, nil
}

func rights(oob []byte) ([]int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: control message: %w", ErrProtocol, err)
	}
	var fds []int
	for i := range msgs {
		if len(msgs[i].Data)%4 != 0 { // ParseUnixRights would panic
			return fds, fmt.Errorf("%w: control message of %d bytes", ErrProtocol, len(msgs[i].Data))
		}
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return fds, fmt.Errorf("%w: descriptors: %w", ErrProtocol, err)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd) // nothing to do about an error, and none leaves it open
	}
}
