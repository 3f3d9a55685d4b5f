package translate

import (
	"cmp"
	"fmt"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

func (m *Mesh) flushSlices() {
	for k := range m.stale.slices {
		ref := Ref{objects.EndpointSlice, k.namespace, k.name}
		if sl := m.endpoints.byKey[k]; sl != nil {
			m.status[ref] = m.sliceStatus(ref, sl)
		} else {
			delete(m.status, ref)
		}
	}
	clear(m.stale.slices)
}

// sliceStatus names the endpoints that are no pods: the mesh does not reach them by this service.
func (m *Mesh) sliceStatus(ref Ref, sl *discoveryv1.EndpointSlice) Status {
	st := Status{Ref: ref, Accepted: true, EnforcedBy: ztunnel}
	if serviceOf(sl).name == "" {
		st.EnforcedBy, st.Message = "", "metadata.labels: no "+discoveryv1.LabelServiceName+": of no service"
	}
	for i, e := range sl.Endpoints {
		hosts := hostsOfEndpoint(sl.Namespace, e)
		if !slices.ContainsFunc(hosts, func(h host) bool { return len(m.pods.byHost[h]) > 0 }) {
			st.Parts = append(st.Parts, fmt.Sprintf("endpoints[%d]: %s is no pod that is known: not reached by the mesh",
				i, cmp.Or(nameOf(e), fmt.Sprint(e.Addresses))))
		}
	}
	return st
}

func nameOf(e discoveryv1.Endpoint) string {
	if e.TargetRef == nil {
		return ""
	}
	return e.TargetRef.Kind + " " + e.TargetRef.Name
}
