package loop

import (
	"net/netip"
	"slices"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// The addresses of a record.
const (
	sourceAt = iota
	destAt
	targetAt
	dialedAt
	placesOfRecord
)

// places are the addresses of a record, packed: most are the pod's own, and of the others there are two at most.
type places struct {
	ports [placesOfRecord]uint16
	hosts uint16 // four bits for each: nowhere, 1 and 2 are others, from firstOwn on it is one of the pod's
	other [2][16]byte
}

const (
	nowhere  = 0
	firstOwn = 3
	mostOwn  = 16 - firstOwn
)

// put reports whether there is room for an address, and at gives back just that.
func (p *places) put(of *engine.Pod, i int, a netip.AddrPort) bool {
	h := p.host(of, a.Addr())
	if h < 0 {
		return false
	}
	p.hosts |= uint16(h) << (4 * i)
	p.ports[i] = a.Port()
	return p.at(of, i) == a
}

// host returns the bits of an address, or a negative number if there is no room for it.
func (p *places) host(of *engine.Pod, a netip.Addr) int {
	if !a.IsValid() {
		return nowhere
	}
	if i := slices.Index(of.Addrs, a); i >= 0 && i < mostOwn {
		return firstOwn + i
	}
	if a == netip.IPv6Unspecified() {
		return -1 // it stands for no other
	}
	for i := range p.other {
		switch p.other[i] {
		case [16]byte{}:
			p.other[i] = a.As16()
			return 1 + i
		case a.As16():
			return 1 + i
		}
	}
	return -1
}

func (p *places) at(of *engine.Pod, i int) netip.AddrPort {
	h := int(p.hosts >> (4 * i) & 15)
	switch {
	case h == nowhere:
		return netip.AddrPort{}
	case h >= firstOwn:
		return netip.AddrPortFrom(of.Addrs[h-firstOwn], p.ports[i])
	}
	return netip.AddrPortFrom(netip.AddrFrom16(p.other[h-1]).Unmap(), p.ports[i])
}
