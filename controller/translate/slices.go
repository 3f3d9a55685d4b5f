package translate

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// endpointIndex finds slices by service and by the hosts that stand in them.
type endpointIndex struct {
	byKey     map[key]*discoveryv1.EndpointSlice
	ofService multimap[key, key]
	ofHost    map[host]map[key]bool // slice: the host is ready
}

func newEndpointIndex() endpointIndex {
	return endpointIndex{map[key]*discoveryv1.EndpointSlice{}, multimap[key, key]{}, map[host]map[key]bool{}}
}

func serviceOf(sl *discoveryv1.EndpointSlice) key {
	return key{sl.Namespace, sl.Labels[discoveryv1.LabelServiceName]}
}

// hostsIn returns the hosts of a slice and whether each is ready: by the pod's name where there is a
// reference, else by the address.
func hostsIn(sl *discoveryv1.EndpointSlice) map[host]bool {
	out := map[host]bool{}
	if sl == nil {
		return out
	}
	for _, e := range sl.Endpoints {
		ready := e.Conditions.Ready == nil || *e.Conditions.Ready
		for _, h := range hostsOfEndpoint(sl.Namespace, e) {
			out[h] = out[h] || ready
		}
	}
	return out
}

func hostsOfEndpoint(namespace string, e discoveryv1.Endpoint) (out []host) {
	switch {
	case e.TargetRef != nil && e.TargetRef.Kind == "Pod":
		return []host{{namespace: namespace, name: e.TargetRef.Name}}
	case e.TargetRef != nil:
		return nil
	}
	for _, a := range e.Addresses {
		if ip, err := netip.ParseAddr(a); err == nil {
			out = append(out, host{namespace: namespace, ip: ip.Unmap().String()})
		}
	}
	return out
}

// setSlice replaces a slice; nil removes it. Only the pods whose entry differs are stale.
func (m *Mesh) setSlice(k key, sl *discoveryv1.EndpointSlice) {
	old := m.endpoints.byKey[k]
	before, after := hostsIn(old), hostsIn(sl)
	was := m.endpoints.services(old, sl)
	m.endpoints.remove(k, old, before)
	m.endpoints.add(k, sl, after)
	samePorts := old != nil && sl != nil && serviceOf(old) == serviceOf(sl) && reflect.DeepEqual(old.Ports, sl.Ports)
	for h, ready := range before {
		if now, ok := after[h]; !ok || now != ready || !samePorts {
			m.staleHost(h)
		}
	}
	for h := range after {
		if _, ok := before[h]; !ok {
			m.staleHost(h)
		}
	}
	m.staleBySelector(was)
	m.stale.slices.add(k)
}

// services returns whether each of the slices' services has any slice.
func (x endpointIndex) services(versions ...*discoveryv1.EndpointSlice) map[key]bool {
	out := map[key]bool{}
	for _, sl := range versions {
		if sl != nil {
			out[serviceOf(sl)] = len(x.ofService[serviceOf(sl)]) > 0
		}
	}
	return out
}

func (x endpointIndex) add(k key, sl *discoveryv1.EndpointSlice, hosts map[host]bool) {
	if sl == nil {
		return
	}
	x.byKey[k] = sl
	x.ofService.add(serviceOf(sl), k)
	for h, ready := range hosts {
		if x.ofHost[h] == nil {
			x.ofHost[h] = map[key]bool{}
		}
		x.ofHost[h][k] = ready
	}
}

func (x endpointIndex) remove(k key, sl *discoveryv1.EndpointSlice, hosts map[host]bool) {
	if sl == nil {
		return
	}
	delete(x.byKey, k)
	x.ofService.remove(serviceOf(sl), k)
	for h := range hosts {
		delete(x.ofHost[h], k)
		if len(x.ofHost[h]) == 0 {
			delete(x.ofHost, h)
		}
	}
}

// staleBySelector marks the pods that a service's selector means when its first slice came or its last
// one went: then who decides changes.
func (m *Mesh) staleBySelector(had map[key]bool) {
	for service, before := range had {
		s := m.services.byKey[service]
		if s != nil && len(s.Spec.Selector) > 0 && before != (len(m.endpoints.ofService[service]) > 0) {
			m.stalePods(service.namespace, s.Spec.Selector)
		}
	}
}

func (m *Mesh) staleHost(h host) {
	m.stale.pods.add(slices.Collect(maps.Keys(m.pods.byHost[h]))...)
}

// staleEndpoints marks the pods that stand in a service's slices.
func (m *Mesh) staleEndpoints(service key) {
	m.staleStrangers(service)
	for k := range m.endpoints.ofService[service] {
		for h := range hostsIn(m.endpoints.byKey[k]) {
			m.staleHost(h)
		}
	}
}

// staleSlicesOf marks the slices whose status depends on whether there is a pod.
func (m *Mesh) staleSlicesOf(hosts []host) {
	for _, h := range hosts {
		m.stale.slices.add(slices.Collect(maps.Keys(m.endpoints.ofHost[h]))...)
	}
}

// sliced returns the services whose slices the pod stands in.
func (m *Mesh) sliced(p *corev1.Pod) map[key]*workload.PortList {
	in := map[key]bool{}
	for _, h := range hostsOf(p) {
		for k, ready := range m.endpoints.ofHost[h] {
			in[k] = in[k] || ready
		}
	}
	out := map[key]*workload.PortList{}
	for _, k := range slices.SortedFunc(maps.Keys(in), compareKeys) {
		sl := m.endpoints.byKey[k]
		s := m.services.byKey[serviceOf(sl)]
		if s == nil || s.Spec.Type == corev1.ServiceTypeExternalName || !in[k] && !s.Spec.PublishNotReadyAddresses {
			continue
		}
		if out[serviceOf(sl)] == nil {
			out[serviceOf(sl)] = &workload.PortList{}
		}
		addSlicePorts(out[serviceOf(sl)], s, sl)
	}
	maps.DeleteFunc(out, func(k key, list *workload.PortList) bool { // it has none of the service's ports
		return len(list.Ports) == 0 && len(m.services.byKey[k].Spec.Ports) > 0
	})
	return out
}
