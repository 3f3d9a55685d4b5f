package lab

import (
	"fmt"
	"net/netip"
)

// The address plan. Node i (from 1) has pods in 10.<i>.0.0/16 and fd00:<i>::/64.
var (
	fabricNet4  = netip.MustParsePrefix("10.250.0.0/24")
	fabricNet6  = netip.MustParsePrefix("fd00:250::/64")
	serviceNet4 = netip.MustParsePrefix("10.96.0.0/16")
	serviceNet6 = netip.MustParsePrefix("fd00:96::/112")
	default4    = netip.MustParsePrefix("0.0.0.0/0")
	default6    = netip.MustParsePrefix("::/0")
)

// onFabric is the address of number n on the fabric: the controller is 2, node i is 10+i.
func onFabric(n int) (v4, v6 netip.Addr) {
	return netip.MustParseAddr(fmt.Sprintf("10.250.0.%d", n)), netip.MustParseAddr(fmt.Sprintf("fd00:250::%x", n))
}

func podNets(node int) (v4, v6 netip.Prefix) {
	return netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", node)), netip.MustParsePrefix(fmt.Sprintf("fd00:%x::/64", node))
}

// inNet is the n-th address of a net.
func inNet(p netip.Prefix, n int) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-2] += byte(n >> 8)
	b[len(b)-1] += byte(n)
	a, _ := netip.AddrFromSlice(b) // of 4 or 16 bytes
	return a
}
