package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Socket is one connection.
type Socket struct {
	From, To netip.AddrPort // own and other side, unmapped
	State    uint8          // TCP_ESTABLISHED = 1, ...

	unacked         uint32
	acked, received uint64
}

const (
	sizeofMsg = 72  // struct inet_diag_msg
	minInfo   = 136 // of struct tcp_info, up to tcpi_bytes_received
)

// parse reads a struct inet_diag_msg with its attributes.
func parse(b []byte) (s Socket, ok bool) {
	if len(b) < sizeofMsg {
		return s, false
	}
	n := 4
	if b[0] == unix.AF_INET6 {
		n = 16
	}
	from, _ := netip.AddrFromSlice(b[8 : 8+n])
	to, _ := netip.AddrFromSlice(b[24 : 24+n])
	s.State = b[1]
	s.From = netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(b[4:]))
	s.To = netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(b[6:]))
	info := attribute(b[sizeofMsg:], infoExt)
	if len(info) < minInfo {
		return s, false
	}
	s.unacked = binary.NativeEndian.Uint32(info[24:])
	s.acked, s.received = binary.NativeEndian.Uint64(info[120:]), binary.NativeEndian.Uint64(info[128:])
	return s, true
}

func attribute(b []byte, want uint16) []byte {
	for len(b) >= 4 {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < 4 || size > len(b) {
			return nil
		}
		if kind == want {
			return b[4:size]
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}

// Bytes are the application's: the kernel counts SYN and FIN too. What was sent and not acknowledged yet is
// not among them.
func (s Socket) Bytes() (sent, received uint64) {
	sent, received = s.acked, s.received
	if sent > 0 {
		sent--
	}
	switch s.State {
	case unix.BPF_TCP_FIN_WAIT2:
		sent -= min(sent, 1)
	case unix.BPF_TCP_LAST_ACK, unix.BPF_TCP_CLOSING:
		if s.unacked == 0 {
			sent -= min(sent, 1)
		}
		received -= min(received, 1)
	case unix.BPF_TCP_CLOSE_WAIT:
		received -= min(received, 1)
	}
	return sent, received
}
