package translate

import (
	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

const waypointLabel = "istio.io/use-waypoint"

// waypointParts says that a waypoint that a label asks for is not used.
func waypointParts(labels map[string]string) []string {
	if w := labels[waypointLabel]; w != "" && w != "none" {
		return []string{"metadata.labels[" + waypointLabel + "]: waypoints are " + notSupported + ": traffic goes straight to the pods"}
	}
	return nil
}

// setOther gives a status to an object of which nothing is translated.
func (m *Mesh) setOther(obj objects.Object) {
	st := Status{Accepted: true}
	switch o := obj.(type) {
	case *corev1.Namespace:
		m.setMode(o)
		st.Kind, st.Parts = objects.Namespace, waypointParts(o.Labels)
		if len(st.Parts) == 0 {
			delete(m.status, Ref{objects.Namespace, "", o.Name})
			return
		}
	case *security.RequestAuthentication:
		st.Kind, st.Message = objects.RequestAuthentication, needsL7+": tokens are not checked"
	case *networking.ServiceEntry:
		st.Kind, st.Message = objects.ServiceEntry, notSupported+": its hosts stay outside of the mesh"
	case *networking.WorkloadEntry:
		st.Kind, st.Message = objects.WorkloadEntry, notSupported+": it is no endpoint of the mesh"
	default:
		return
	}
	st.Namespace, st.Name, st.Generation = obj.GetNamespace(), obj.GetName(), obj.GetGeneration()
	m.status[st.Ref] = st
}
