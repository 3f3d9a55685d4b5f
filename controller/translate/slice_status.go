package translate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

func (m *Mesh) flushSlices() error {
	todo := sortedKeys(m.stale.slices)
	clear(m.stale.slices)
	var errs []error
	for _, k := range todo {
		ref, sl := Ref{objects.EndpointSlice, k.namespace, k.name}, m.endpoints.byKey[k]
		errs = append(errs, m.flushStrangers(k, sl))
		if sl != nil {
			m.status[ref] = m.sliceStatus(ref, sl)
		} else {
			delete(m.status, ref)
		}
	}
	return errors.Join(errs...)
}

// sliceStatus names the endpoints that the mesh does not reach by this service: pods that are not known,
// and what is no address.
func (m *Mesh) sliceStatus(ref Ref, sl *discoveryv1.EndpointSlice) Status {
	st := Status{Ref: ref, Accepted: true, EnforcedBy: ztunnel}
	if serviceOf(sl).name == "" {
		st.EnforcedBy, st.Message = "", "metadata.labels: no "+discoveryv1.LabelServiceName+": of no service"
	}
	for i, e := range sl.Endpoints {
		hosts := hostsOfEndpoint(sl.Namespace, e)
		if len(m.strangeAddresses(sl, e)) > 0 {
			continue
		}
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
