package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pair makes a veth with one end in each host and sets both up.
func pair(mtu int, a *Host, nameA string, b *Host, nameB string) error {
	v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: nameB, PeerNamespace: netlink.NsFd(b.ns.f.Fd()), PeerMTU: uint32(mtu)}
	v.Name, v.MTU = nameA, mtu
	if err := a.ns.h.LinkAdd(v); err != nil {
		return fmt.Errorf("link %s of %s to %s of %s: %w", nameA, a.Name, nameB, b.Name, err)
	}
	if err := a.up(nameA); err != nil {
		return err
	}
	return b.up(nameB)
}

func (h *Host) link(name string) (netlink.Link, error) {
	l, err := h.ns.h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find link %s of %s: %w", name, h.Name, err)
	}
	return l, nil
}

func (h *Host) up(name string) error {
	l, err := h.link(name)
	if err != nil {
		return err
	}
	if err := h.ns.h.LinkSetUp(l); err != nil {
		return fmt.Errorf("set link %s of %s up: %w", name, h.Name, err)
	}
	return nil
}

func (h *Host) upLoopback() error { return h.up("lo") }

// address adds addresses to a link, usable at once.
func (h *Host) address(link string, addrs ...netip.Prefix) error {
	l, err := h.link(link)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		na := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			na.Flags = unix.IFA_F_NODAD
		}
		if err := h.ns.h.AddrAdd(l, na); err != nil {
			return fmt.Errorf("add address %s to %s of %s: %w", a, link, h.Name, err)
		}
	}
	return nil
}

// AddAddress gives the pod one more address, which nobody routes to it.
func (p *Pod) AddAddress(a netip.Addr) error { return p.address("lo", whole(a)) }

// route sends what is for dst through a link, by way of via if it is valid.
func (h *Host) route(dst netip.Prefix, link string, via netip.Addr) error {
	l, err := h.link(link)
	if err != nil {
		return err
	}
	r := &netlink.Route{Dst: ipNet(dst), LinkIndex: l.Attrs().Index}
	if via.IsValid() {
		r.Gw = via.AsSlice()
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	if err := h.ns.h.RouteReplace(r); err != nil {
		return fmt.Errorf("route %s by %s of %s: %w", dst, link, h.Name, err)
	}
	return nil
}

// unreachable answers at once for what has no better route.
func (h *Host) unreachable(dst netip.Prefix) error {
	r := &netlink.Route{Dst: ipNet(dst), Type: unix.RTN_UNREACHABLE}
	if err := h.ns.h.RouteReplace(r); err != nil {
		return fmt.Errorf("make %s unreachable in %s: %w", dst, h.Name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func whole(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Plug pulls a node's cable to the fabric out, or puts it in again.
func (n *Node) Plug(in bool) error {
	port := fabricPort(n.index)
	if in {
		return n.lab.fabric.up(port)
	}
	l, err := n.lab.fabric.link(port)
	if err != nil {
		return err
	}
	if err := n.lab.fabric.ns.h.LinkSetDown(l); err != nil {
		return fmt.Errorf("unplug %s: %w", n.Name, err)
	}
	return nil
}
