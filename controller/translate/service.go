package translate

import (
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/types/known/anypb"
	corev1 "k8s.io/api/core/v1"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// Service translates a service. balanced are the addresses of its load balancer, out is its ejection
// settings or nil. It returns nil for an ExternalName, which has no workloads.
func Service(s *corev1.Service, balanced []string, out *ambit.Outlier) (*workload.Service, Status, error) {
	st := Status{Ref: Ref{"Service", s.Namespace, s.Name}, Accepted: true, EnforcedBy: ztunnel}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		st.EnforcedBy, st.Message = "", "type ExternalName: left alone: its name leads elsewhere"
		return nil, st, nil
	}
	w := &workload.Service{
		Name: s.Name, Namespace: s.Namespace, Hostname: Hostname(s.Namespace, s.Name),
		LoadBalancing: loadBalancing(s), IpFamilies: families(s), Canonical: true,
	}
	for _, vip := range append(vips(s), balanced...) {
		ip, err := netip.ParseAddr(vip)
		if err != nil || !usable(ip.Unmap()) {
			st.Parts = append(st.Parts, fmt.Sprintf("spec.clusterIPs: %q is no address of a service", vip))
			continue
		}
		w.Addresses = append(w.Addresses, &workload.NetworkAddress{Address: ip.Unmap().AsSlice()})
	}
	for i, p := range s.Spec.Ports {
		if why := unservable(p); why != "" {
			st.Parts = append(st.Parts, fmt.Sprintf("spec.ports[%d]: %s", i, why))
			continue
		}
		w.Ports = append(w.Ports, &workload.Port{ServicePort: uint32(p.Port),
			TargetPort: targetNumber(p), AppProtocol: appProtocol(p)})
	}
	st.Parts = append(st.Parts, unheededBy(s)...)
	if out != nil {
		cfg, err := anypb.New(out)
		if err != nil {
			return nil, st, fmt.Errorf("translate %s: pack outlier settings: %w", st.Ref, err)
		}
		w.Extensions = []*workload.Extension{{Name: mesh.OutlierExtension, Config: cfg}}
	}
	return w, st, nil
}

func vips(s *corev1.Service) []string {
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{s.Spec.ClusterIP}
	}
	var out []string
	for _, ip := range ips {
		if ip != "" && ip != corev1.ClusterIPNone {
			out = append(out, ip)
		}
	}
	return out
}

func unheededBy(s *corev1.Service) (parts []string) {
	if a := s.Spec.SessionAffinity; a != "" && a != corev1.ServiceAffinityNone {
		parts = append(parts, fmt.Sprintf("spec.sessionAffinity: %s is %s", a, notSupported))
	}
	if d := s.Spec.TrafficDistribution; d != nil && *d != "" && near(*d) == nil {
		parts = append(parts, fmt.Sprintf("spec.trafficDistribution: %s is %s: endpoints are chosen wherever they are", *d, notSupported))
	}
	if len(s.Spec.ExternalIPs) > 0 {
		parts = append(parts, "spec.externalIPs: connections to them are not balanced by the mesh")
	}
	return append(parts, waypointParts(s.Labels)...)
}

// unservable says why a port is not served; "" if it is.
func unservable(p corev1.ServicePort) string {
	switch {
	case p.Protocol != "" && p.Protocol != corev1.ProtocolTCP:
		return string(p.Protocol) + " is not captured"
	case !isPort(p.Port):
		return fmt.Sprintf("%d is no port", p.Port)
	case p.TargetPort.StrVal == "" && p.TargetPort.IntVal != 0 && !isPort(p.TargetPort.IntVal):
		return fmt.Sprintf("targetPort: %d is no port", p.TargetPort.IntVal)
	}
	return ""
}

func isPort(n int32) bool { return n > 0 && n <= 65535 }

// targetNumber returns 0 for a named port: each endpoint then says its own.
func targetNumber(p corev1.ServicePort) uint32 {
	switch {
	case p.TargetPort.StrVal != "":
		return 0
	case p.TargetPort.IntVal > 0:
		return uint32(p.TargetPort.IntVal)
	}
	return uint32(p.Port)
}

// appProtocol reads Kubernetes' appProtocol, else the prefix of the port's name, as Istio does.
func appProtocol(p corev1.ServicePort) workload.AppProtocol {
	name, _, _ := strings.Cut(p.Name, "-")
	if p.AppProtocol != nil {
		name = strings.TrimPrefix(*p.AppProtocol, "kubernetes.io/")
	}
	switch strings.ToLower(name) {
	case "http":
		return workload.AppProtocol_HTTP11
	case "http2", "h2c":
		return workload.AppProtocol_HTTP2
	case "grpc":
		return workload.AppProtocol_GRPC
	case "tcp":
		return workload.AppProtocol_TCP
	case "tls", "https":
		return workload.AppProtocol_TLS
	}
	return workload.AppProtocol_UNKNOWN
}

func families(s *corev1.Service) workload.IPFamilies {
	var v4, v6 bool
	for _, f := range s.Spec.IPFamilies {
		v4, v6 = v4 || f == corev1.IPv4Protocol, v6 || f == corev1.IPv6Protocol
	}
	switch {
	case v4 && v6:
		return workload.IPFamilies_DUAL
	case v4:
		return workload.IPFamilies_IPV4_ONLY
	case v6:
		return workload.IPFamilies_IPV6_ONLY
	}
	return workload.IPFamilies_AUTOMATIC
}

// near returns by what endpoints are preferred, the widest first; nil for a word that is not known.
func near(distribution string) []workload.LoadBalancing_Scope {
	const network, region, zone = workload.LoadBalancing_NETWORK, workload.LoadBalancing_REGION, workload.LoadBalancing_ZONE
	switch distribution {
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone:
		return []workload.LoadBalancing_Scope{network, region, zone}
	case corev1.ServiceTrafficDistributionPreferSameNode:
		return []workload.LoadBalancing_Scope{network, region, zone, workload.LoadBalancing_SUBZONE, workload.LoadBalancing_NODE}
	}
	return nil
}

func loadBalancing(s *corev1.Service) *workload.LoadBalancing {
	lb := &workload.LoadBalancing{}
	if s.Spec.PublishNotReadyAddresses {
		lb.HealthPolicy = workload.LoadBalancing_ALLOW_ALL
	}
	preferred := near(deref(s.Spec.TrafficDistribution))
	local := s.Spec.InternalTrafficPolicy
	switch {
	case local != nil && *local == corev1.ServiceInternalTrafficPolicyLocal:
		lb.Mode, lb.RoutingPreference = workload.LoadBalancing_STRICT, []workload.LoadBalancing_Scope{workload.LoadBalancing_NODE}
	case preferred != nil:
		lb.Mode, lb.RoutingPreference = workload.LoadBalancing_FAILOVER, preferred
	case !s.Spec.PublishNotReadyAddresses:
		return nil
	}
	return lb
}
