package lab

import (
	"encoding/binary"
	"net/netip"
)

// Segment is one TCP segment or UDP datagram that was seen.
type Segment struct {
	Flow
	UDP     bool
	Seq     uint32
	Flags   uint8 // TCP's: FlagSYN and so on
	Payload []byte
}

// TCP flags.
const (
	FlagFIN = 1 << iota
	FlagSYN
	FlagRST
)

// Flow is one direction of a connection.
type Flow struct{ Src, Dst netip.AddrPort }

const (
	ethernetHeader = 14
	typeIPv4       = 0x0800
	typeIPv6       = 0x86dd
	protocolTCP    = 6
	protocolUDP    = 17
)

// parseFrame reads an Ethernet frame. Anything but TCP and UDP over IP, and fragments, is not ok.
func parseFrame(b []byte) (s Segment, ok bool) {
	if len(b) < ethernetHeader {
		return s, false
	}
	kind, b := binary.BigEndian.Uint16(b[12:]), b[ethernetHeader:]
	switch {
	case kind == typeIPv4 && len(b) >= 20 && b[0]>>4 == 4:
		return parseIPv4(b)
	case kind == typeIPv6 && len(b) >= 40 && b[0]>>4 == 6:
		return parseIPv6(b)
	}
	return s, false
}

func parseIPv4(b []byte) (s Segment, ok bool) {
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		total = len(b) // a large segment that is cut later
	}
	fragment := binary.BigEndian.Uint16(b[6:]) & 0x3fff
	if header < 20 || header > total || total > len(b) || fragment != 0 {
		return s, false
	}
	return parseTransport(b[9], netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[header:total])
}

func parseIPv6(b []byte) (s Segment, ok bool) {
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if total == 40 {
		total = len(b) // a jumbo segment that is cut later
	}
	if total > len(b) {
		return s, false
	}
	return parseTransport(b[6], netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[40:total])
}

func parseTransport(protocol byte, src, dst netip.Addr, b []byte) (s Segment, ok bool) {
	header := 8
	switch {
	case protocol == protocolUDP && len(b) >= header:
		s.UDP = true
	case protocol == protocolTCP && len(b) >= 20:
		header = int(b[12]>>4) * 4
		s.Seq, s.Flags = binary.BigEndian.Uint32(b[4:]), b[13]&7
		if header < 20 || header > len(b) {
			return s, false
		}
	default:
		return s, false
	}
	s.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b))
	s.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
	s.Payload = b[header:]
	return s, true
}
