package translate

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// With EndpointSlices they decide who is an endpoint. Without any, the service's selector does, by the
// rules of Kubernetes' own endpoints controller, so that a standalone user need not write slices.

// selected returns the pod's ports as an endpoint by the service's selector, or nil if it is none.
func selected(p *corev1.Pod, s *corev1.Service) *workload.PortList {
	if !selects(s.Spec.Selector, p.Labels) {
		return nil
	}
	list := &workload.PortList{}
	for _, port := range tcpPorts(s) {
		if target := containerPort(p, port); target != 0 {
			list.Ports = append(list.Ports, &workload.Port{ServicePort: uint32(port.Port), TargetPort: target,
				AppProtocol: appProtocol(port)})
		}
	}
	if len(list.Ports) == 0 && len(s.Spec.Ports) > 0 {
		return nil // a named port that this pod does not have
	}
	return list
}

// addSlicePorts adds the ports of a slice that the pod stands in.
func addSlicePorts(list *workload.PortList, s *corev1.Service, sl *discoveryv1.EndpointSlice) {
	for _, port := range tcpPorts(s) {
		for _, ep := range sl.Ports {
			if ep.Port == nil || !isPort(*ep.Port) || deref(ep.Name) != port.Name || ep.Protocol != nil && *ep.Protocol != corev1.ProtocolTCP {
				continue
			}
			known := slices.ContainsFunc(list.Ports, func(q *workload.Port) bool { return q.ServicePort == uint32(port.Port) })
			if !known { // a pod of two families stands in two slices
				list.Ports = append(list.Ports, &workload.Port{ServicePort: uint32(port.Port),
					TargetPort: uint32(*ep.Port), AppProtocol: appProtocol(port)})
			}
		}
	}
}

func tcpPorts(s *corev1.Service) []corev1.ServicePort {
	return slices.DeleteFunc(slices.Clone(s.Spec.Ports), func(p corev1.ServicePort) bool {
		return unservable(p) != ""
	})
}

func containerPort(p *corev1.Pod, port corev1.ServicePort) uint32 {
	name := port.TargetPort.StrVal
	if name == "" {
		return targetNumber(port)
	}
	for _, c := range slices.Concat(p.Spec.Containers, p.Spec.InitContainers) {
		for _, cp := range c.Ports {
			if cp.Name == name && (cp.Protocol == "" || cp.Protocol == corev1.ProtocolTCP) && isPort(cp.ContainerPort) {
				return uint32(cp.ContainerPort)
			}
		}
	}
	return 0
}

// selects reports whether the labels match all of the selector.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
