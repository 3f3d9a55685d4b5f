package lab

import (
	"fmt"
	"net/netip"

	"sigs.k8s.io/yaml"
)

// ServiceSpec describes a Service. Its endpoints are the ready pods that Selector chooses.
type ServiceSpec struct {
	Namespace, Name     string
	Selector            map[string]string
	Ports               []ServicePort
	Headless            bool
	Labels, Annotations map[string]string
}

// ServicePort is one port. TargetPort 0 is Port.
type ServicePort struct {
	Name             string
	Port, TargetPort int
}

// Service is a Service of the lab. Its addresses exist only for enrolled pods: for others they are
// unreachable.
type Service struct {
	V4, V6 netip.Addr // invalid if headless
	Host   string
}

// At is the service's address of a family with a port.
func (s *Service) At(v6 bool, port int) string {
	a := s.V4
	if v6 {
		a = s.V6
	}
	return netip.AddrPortFrom(a, uint16(port)).String()
}

// AddService tells the cluster of a service with new addresses.
func (l *Lab) AddService(spec ServiceSpec) (*Service, error) {
	s := &Service{Host: fmt.Sprintf("%s.%s.svc.cluster.local", spec.Name, spec.Namespace)}
	ips := []string{"None"}
	if !spec.Headless {
		l.mu.Lock()
		l.services++
		s.V4, s.V6 = inNet(serviceNet4, 10+l.services), inNet(serviceNet6, 10+l.services)
		l.mu.Unlock()
		ips = []string{s.V4.String(), s.V6.String()}
	}
	var ports []any
	for _, p := range spec.Ports {
		target := p.TargetPort
		if target == 0 {
			target = p.Port
		}
		ports = append(ports, map[string]any{"name": p.Name, "port": p.Port, "targetPort": target, "protocol": "TCP"})
	}
	b, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": spec.Name, "namespace": spec.Namespace, "labels": spec.Labels, "annotations": spec.Annotations},
		"spec":     map[string]any{"selector": spec.Selector, "clusterIP": ips[0], "clusterIPs": ips, "ports": ports},
	})
	if err != nil {
		return nil, fmt.Errorf("describe service %s: %w", spec.Name, err)
	}
	return s, l.Apply("service-"+spec.Namespace+"-"+spec.Name, string(b))
}
