package zds

import (
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

const (
	writeTime = 5 * time.Second
	maxError  = 512 // bytes of an error's text
)

// receive reads one packet with its descriptors, which become the caller's. A packet that was cut
// short comes back with err and no descriptors, and the session stands. io.EOF and other errors of the
// socket are fatal.
func receive(c *net.UnixConn) (b []byte, fds []int, bad, err error) {
	b = make([]byte, maxPacket)
	oob := make([]byte, unix.CmsgSpace(4*maxFDs))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob) // close-on-exec
	if err != nil {
		return nil, nil, nil, err
	}
	fds, bad = rights(oob[:oobn])
	if bad == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		bad = fmt.Errorf("%w: packet or its descriptors too large", ErrProtocol)
	}
	if bad != nil {
		closeAll(fds)
		return nil, nil, bad, nil
	}
	return b[:n], fds, nil, nil
}

func rights(oob []byte) (fds []int, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: control message: %w", ErrProtocol, err)
	}
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

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd) // nothing to do about an error, and none leaves it open
	}
}

// send writes one packet; fds stay the caller's.
func send(c *net.UnixConn, m proto.Message, fds []int) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode zds message: %w", err)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, _, err = c.WriteMsgUnix(b, oob, nil)
	return err
}

// response wraps an Ack; an error becomes its text.
func response(ack *pb.Ack, err error) *pb.WorkloadResponse {
	if err != nil {
		text := strings.ToValidUTF8(err.Error(), "?")
		ack = &pb.Ack{Error: strings.ToValidUTF8(text[:min(len(text), maxError)], "")}
	}
	return &pb.WorkloadResponse{Payload: &pb.WorkloadResponse_Ack{Ack: ack}}
}
