package lab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"sigs.k8s.io/yaml"
)

const (
	bridge = "br0"
	uplink = "eth0"
)

// buildFabric makes the bridge and the controller's place on it.
func (l *Lab) buildFabric() (err error) {
	if l.fabric, err = l.newHost("fabric", ""); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = bridge, l.opts.MTU
	if err := l.fabric.ns.h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("make bridge: %w", err)
	}
	if err := l.fabric.up(bridge); err != nil {
		return err
	}
	if l.controller, err = l.newHost("controller", "controller"); err != nil {
		return err
	}
	return l.plug(l.controller, "controller", 2)
}

// plug links a host to the fabric by a port of that name.
func (l *Lab) plug(h *Host, port string, number int) error {
	if err := pair(l.opts.MTU, l.fabric, port, h, uplink); err != nil {
		return err
	}
	p, err := l.fabric.link(port)
	if err != nil {
		return err
	}
	br, err := l.fabric.link(bridge)
	if err != nil {
		return err
	}
	if err := l.fabric.ns.h.LinkSetMaster(p, br); err != nil {
		return fmt.Errorf("plug %s into the fabric: %w", h.Name, err)
	}
	v4, v6 := onFabric(number)
	return h.address(uplink, netip.PrefixFrom(v4, fabricNet4.Bits()), netip.PrefixFrom(v6, fabricNet6.Bits()))
}

// fabricPort is the fabric's end of a node's link.
func fabricPort(index int) string { return fmt.Sprintf("port%d", index) }

func (l *Lab) buildNode(name string, index int) error {
	h, err := l.newHost(name, name)
	if err != nil {
		return err
	}
	n := &Node{Host: h, index: index, nextPod: 10}
	n.net4, n.net6 = podNets(index)
	n.V4, n.V6 = onFabric(10 + index)
	l.nodes[name] = n
	if err := n.makeDirs(); err != nil {
		return err
	}
	if err := l.plug(h, fabricPort(index), 10+index); err != nil {
		return err
	}
	if err := h.ns.sysctls(map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
		"ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0", // every unreachable call must hear of it
	}); err != nil {
		return err
	}
	for _, p := range []netip.Prefix{n.net4, n.net6, serviceNet4, serviceNet6, default4, default6} {
		if err := h.unreachable(p); err != nil {
			return err
		}
	}
	return nil
}

// routeNodes gives every node a way to the others' pods, and the controller one to all.
func (l *Lab) routeNodes() error {
	for _, to := range l.nodes {
		from := []*Host{l.controller}
		for _, n := range l.nodes {
			if n != to {
				from = append(from, n.Host)
			}
		}
		for _, h := range from {
			if err := h.route(to.net4, uplink, to.V4); err != nil {
				return err
			}
			if err := h.route(to.net6, uplink, to.V6); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Lab) describeNodes() error {
	for name, n := range l.nodes {
		b, err := yaml.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name},
			"status": map[string]any{"addresses": []any{
				map[string]any{"type": "InternalIP", "address": n.V4.String()},
				map[string]any{"type": "InternalIP", "address": n.V6.String()},
			}},
		})
		if err != nil {
			return fmt.Errorf("describe node %s: %w", name, err)
		}
		if err := l.Apply("node-"+name, string(b)); err != nil {
			return err
		}
	}
	return nil
}
