package translate

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// balancers knows which services have which addresses of load balancers. From inside of the cluster such
// an address is one of the service's, unless it is a node's or several services': those have other ports
// behind them, and what goes there is left alone.
type balancers struct {
	byIP  multimap[netip.Addr, key]
	nodes map[netip.Addr]int // how many nodes have the address
}

func newBalancers() balancers {
	return balancers{multimap[netip.Addr, key]{}, map[netip.Addr]int{}}
}

// balancerIPs returns the addresses that a service's load balancer passes on as they are.
func balancerIPs(s *corev1.Service) (out []netip.Addr) {
	if s == nil || s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		if in.IPMode != nil && *in.IPMode == corev1.LoadBalancerIPModeProxy {
			continue // it wants to see the traffic
		}
		if ip, err := netip.ParseAddr(in.IP); err == nil && ip.Zone() == "" && usable(ip.Unmap()) && !slices.Contains(out, ip.Unmap()) {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// setBalancer replaces a service's addresses and marks those that share one.
func (m *Mesh) setBalancer(k key, old, now *corev1.Service) {
	before, after := balancerIPs(old), balancerIPs(now)
	if slices.Equal(before, after) {
		return
	}
	for _, ip := range before {
		m.balancers.byIP.remove(ip, k)
	}
	for _, ip := range after {
		m.balancers.byIP.add(ip, k)
	}
	for _, ip := range slices.Concat(before, after) {
		m.staleBalancer(ip)
	}
}

func (m *Mesh) staleBalancer(ip netip.Addr) {
	for k := range m.balancers.byIP[ip] {
		m.stale.services.add(k)
	}
}

// setNodeIPs replaces a node's addresses.
func (m *Mesh) setNodeIPs(old, now *corev1.Node) {
	before, after := nodeIPs(old), nodeIPs(now)
	if slices.Equal(before, after) {
		return
	}
	for _, ip := range before {
		if m.balancers.nodes[ip]--; m.balancers.nodes[ip] <= 0 {
			delete(m.balancers.nodes, ip)
		}
	}
	for _, ip := range after {
		m.balancers.nodes[ip]++
	}
	for _, ip := range slices.Concat(before, after) {
		m.staleBalancer(ip)
	}
}

func nodeIPs(n *corev1.Node) (out []netip.Addr) {
	if n == nil {
		return nil
	}
	for _, a := range n.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil && !slices.Contains(out, ip.Unmap()) {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// balancerVIPs returns those of a service's addresses that are its alone, and the others.
func (m *Mesh) balancerVIPs(s *corev1.Service) (own, shared []string) {
	for _, ip := range balancerIPs(s) {
		if m.balancers.nodes[ip] > 0 || len(m.balancers.byIP[ip]) > 1 {
			shared = append(shared, ip.String())
		} else {
			own = append(own, ip.String())
		}
	}
	return own, shared
}
