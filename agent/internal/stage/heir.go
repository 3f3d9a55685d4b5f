package stage

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Heir is a pod that has another's addresses and serves at them already, and that nobody reaches before Move.
type Heir struct {
	*Pod
	link string // the node's end of its device
}

// Heir makes one. As with Sandbox its object is another's matter.
func (n *Node) Heir(name, uid string, of *Pod) *Heir {
	n.t.Helper()
	n.pods++
	num := n.pods
	h := &Heir{&Pod{Name: name, UID: uid, node: n, Cgroup: n.Cgroup("pod" + uid), V4: of.V4, V6: of.V6}, fmt.Sprintf("v%d", num)}
	h.Process = start(n.t, "box", place{cgroup: h.Cgroup})
	h.NetNS = h.Process.NetNS()
	if err := h.wire(num); err != nil {
		n.t.Fatalf("wire pod %s: %v", name, err)
	}
	h.Process.Listen(n.t, ":8080", name)
	n.t.Cleanup(func() { n.unwire(num) })
	return h
}

// wire joins it to the node with a gateway of its own: nothing on the node leads to it.
func (h *Heir) wire(num int) error {
	gateways := []string{fmt.Sprintf("10.77.%d.1", num), fmt.Sprintf("fd77:%d::1", num)}
	err := within(h.node.Process.NetNS(), func() error {
		v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth0", PeerNamespace: netlink.NsPid(h.PID)}
		v.Name = h.link
		if err := netlink.LinkAdd(v); err != nil {
			return fmt.Errorf("add veth: %w", err)
		}
		return addresses(h.link, gateways[0]+"/24", gateways[1]+"/64")
	})
	if err != nil {
		return err
	}
	return within(h.NetNS, func() error {
		if err := addresses("eth0", h.V4.String()+"/32", h.V6.String()+"/128"); err != nil {
			return err
		}
		for _, gw := range gateways {
			if err := routeTo(netip.MustParseAddr(gw), "eth0"); err != nil {
				return err
			}
			if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)}); err != nil {
				return fmt.Errorf("default route: %w", err)
			}
		}
		return nil
	})
}

// Move leads its addresses to it.
func (h *Heir) Move() error {
	return within(h.node.Process.NetNS(), func() error {
		for _, a := range []netip.Addr{h.V4, h.V6} {
			if err := routeTo(a, h.link); err != nil {
				return err
			}
		}
		return nil
	})
}

func routeTo(a netip.Addr, dev string) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	dst := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
	err = netlink.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK})
	if err != nil {
		return fmt.Errorf("route %s to %s: %w", a, dev, err)
	}
	return nil
}
