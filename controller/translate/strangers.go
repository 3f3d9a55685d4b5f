package translate

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// A stranger is an endpoint of a slice that is no pod: the API server behind kubernetes.default, a
// database outside. It is reached in plaintext, and by its service only: an address alone is nobody's.

// strangers keeps the workloads that were made for slices.
type strangers map[key]set[string] // slice: uids

// strangerUID is as Istio names it, so that views of both agree.
func (o Options) strangerUID(slice key, ip netip.Addr) string {
	return o.ClusterID + "/discovery.k8s.io/EndpointSlice/" + slice.namespace + "/" + slice.name + "/" + ip.String()
}

// flushStrangers makes the workloads of a slice; nil removes them.
func (m *Mesh) flushStrangers(k key, sl *discoveryv1.EndpointSlice) error {
	now := map[string]*workload.Workload{}
	if sl != nil {
		now = m.strangersOf(k, sl)
	}
	for uid := range m.strangers[k] {
		if now[uid] == nil {
			m.out.remove(AddressType, uid)
		}
	}
	delete(m.strangers, k)
	if len(now) > 0 {
		m.strangers[k] = set[string]{}
	}
	var errs []error
	for _, uid := range slices.Sorted(maps.Keys(now)) {
		m.strangers[k].add(uid)
		errs = append(errs, m.out.put(AddressType, uid, &workload.Address{Type: &workload.Address_Workload{Workload: now[uid]}}))
	}
	return errors.Join(errs...)
}

func (m *Mesh) strangersOf(k key, sl *discoveryv1.EndpointSlice) map[string]*workload.Workload {
	out := map[string]*workload.Workload{}
	s := m.services.byKey[serviceOf(sl)]
	if s == nil || s.Spec.Type == corev1.ServiceTypeExternalName {
		return out
	}
	list := &workload.PortList{}
	addSlicePorts(list, s, sl)
	if len(list.Ports) == 0 {
		return out
	}
	for _, e := range sl.Endpoints {
		ready := e.Conditions.Ready == nil || *e.Conditions.Ready
		if !ready && !s.Spec.PublishNotReadyAddresses {
			continue
		}
		for _, ip := range m.strangeAddresses(sl, e) {
			uid := m.opts.strangerUID(k, ip)
			out[uid] = m.stranger(uid, ip, k, s, e, ready, list)
		}
	}
	return out
}

// strangeAddresses returns the addresses of an endpoint that are no pod's.
func (m *Mesh) strangeAddresses(sl *discoveryv1.EndpointSlice, e discoveryv1.Endpoint) (out []netip.Addr) {
	if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
		return nil // the pod is yet to come, or has gone
	}
	for _, a := range e.Addresses {
		ip, err := netip.ParseAddr(a)
		if err != nil || ip.Zone() != "" || !usable(ip.Unmap()) {
			continue
		}
		ip = ip.Unmap()
		if e.TargetRef == nil && len(m.pods.byHost[host{namespace: sl.Namespace, ip: ip.String()}]) > 0 {
			continue
		}
		out = append(out, ip)
	}
	return out
}

func (m *Mesh) stranger(uid string, ip netip.Addr, slice key, s *corev1.Service, e discoveryv1.Endpoint, ready bool, list *workload.PortList) *workload.Workload {
	node := deref(e.NodeName)
	w := &workload.Workload{
		Uid: uid, Name: cmp.Or(nameOfRef(e), slice.name+"-"+ip.String()), Namespace: s.Namespace, Addresses: [][]byte{ip.AsSlice()},
		ClusterId: elide(m.opts.ClusterID, defaultCluster), TrustDomain: elide(m.opts.TrustDomain, defaultTrustDomain), Node: node,
		// It may share its address with pods on the host's network, so it is not looked up by it.
		NetworkMode: workload.NetworkMode_HOST_NETWORK, WorkloadName: s.Name, WorkloadType: workload.WorkloadType_POD,
		CanonicalName: s.Name, CanonicalRevision: "latest", Locality: locality(m.nodes[node]),
		Services: map[string]*workload.PortList{ServiceKey(s.Namespace, s.Name): list},
	}
	if zone := deref(e.Zone); w.Locality == nil && zone != "" {
		w.Locality = &workload.Locality{Zone: zone}
	}
	if !ready {
		w.Status = workload.WorkloadStatus_UNHEALTHY
	}
	return w
}

func nameOfRef(e discoveryv1.Endpoint) string {
	if e.TargetRef == nil {
		return ""
	}
	return e.TargetRef.Name
}

// staleStrangers marks the slices of a service: what a stranger serves depends on it.
func (m *Mesh) staleStrangers(service key) {
	m.stale.slices.add(slices.Collect(maps.Keys(m.endpoints.ofService[service]))...)
}
