package translate

import (
	"errors"
	"reflect"

	corev1 "k8s.io/api/core/v1"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/objects"
)

// serviceIndex finds services by the pods that they mean.
type serviceIndex struct {
	byKey     map[key]*corev1.Service
	selectors selectors
}

func newServiceIndex() serviceIndex {
	return serviceIndex{map[key]*corev1.Service{}, selectors{}}
}

// setService replaces a service; nil removes it.
func (m *Mesh) setService(k key, s *corev1.Service) {
	old := m.services.byKey[k]
	if old != nil {
		m.services.selectors.remove(k, old.Spec.Selector)
		delete(m.services.byKey, k)
	}
	if s != nil {
		m.services.selectors.add(k, s.Spec.Selector)
		m.services.byKey[k] = s
	}
	m.stale.services.add(k)
	m.setBalancer(k, old, s)
	m.staleRulesOf(Hostname(k.namespace, k.name))
	if membership(old) == nil || !reflect.DeepEqual(membership(old), membership(s)) {
		m.staleMembers(k, old, s)
	}
}

// membership is what of a service its endpoints depend on.
func membership(s *corev1.Service) any {
	if s == nil {
		return nil
	}
	return []any{s.Spec.Type, s.Spec.Selector, s.Spec.Ports, s.Spec.PublishNotReadyAddresses}
}

// staleMembers marks the pods that are endpoints of any of the versions of a service.
func (m *Mesh) staleMembers(k key, versions ...*corev1.Service) {
	for _, s := range versions {
		if s != nil && len(s.Spec.Selector) > 0 {
			m.stalePods(k.namespace, s.Spec.Selector)
		}
	}
	m.staleEndpoints(k)
}

// servicesOf returns the services that a pod is an endpoint of, by service key.
func (m *Mesh) servicesOf(p *corev1.Pod) map[string]*workload.PortList {
	out := map[string]*workload.PortList{}
	for k, list := range m.sliced(p) {
		out[ServiceKey(k.namespace, k.name)] = list
	}
	m.services.selectors.candidates(p.Namespace, p.Labels, func(k key) {
		s := m.services.byKey[k]
		if s.Spec.Type == corev1.ServiceTypeExternalName || len(m.endpoints.ofService[k]) > 0 {
			return
		}
		if list := selected(p, s); list != nil {
			out[ServiceKey(k.namespace, k.name)] = list
		}
	})
	if len(out) == 0 {
		return nil
	}
	return out
}

func (m *Mesh) flushServices() error {
	todo := sortedKeys(m.stale.services)
	clear(m.stale.services)
	var errs []error
	for _, k := range todo {
		errs = append(errs, m.flushService(k))
	}
	return errors.Join(errs...)
}

func (m *Mesh) flushService(k key) error {
	ref, name := Ref{objects.Service, k.namespace, k.name}, ServiceKey(k.namespace, k.name)
	s := m.services.byKey[k]
	if s == nil {
		delete(m.status, ref)
		m.out.remove(AddressType, name)
		return nil
	}
	balanced, shared := m.balancerVIPs(s)
	w, st, err := Service(s, balanced, m.outlierOf(k))
	for _, ip := range shared {
		st.Parts = append(st.Parts, "status.loadBalancer.ingress: "+ip+" is not this service's alone: what pods send there is left alone")
	}
	m.status[ref] = st
	if err != nil {
		return err
	}
	if w == nil {
		m.out.remove(AddressType, name)
		return nil
	}
	return m.out.put(AddressType, name, &workload.Address{Type: &workload.Address_Service{Service: w}})
}
