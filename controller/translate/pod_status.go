package translate

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// maxName bounds the names in a workload; the API server allows no longer ones.
const maxName = 253

// unsendable says why proxies would refuse a workload, which an API server would not have admitted;
// "" if they would not.
func unsendable(w *workload.Workload) string {
	if bad := validation.IsDNS1123Subdomain(cmp.Or(w.GetServiceAccount(), defaultAccount)); len(bad) > 0 {
		return fmt.Sprintf("spec.serviceAccountName: %q: %s", w.GetServiceAccount(), bad[0])
	}
	for _, s := range []string{w.GetNode(), w.GetCanonicalName(), w.GetCanonicalRevision(), w.GetWorkloadName(),
		w.GetLocality().GetRegion(), w.GetLocality().GetZone(), w.GetLocality().GetSubzone()} {
		if len(s) > maxName {
			return fmt.Sprintf("a name of %d bytes, at most %d", len(s), maxName)
		}
	}
	return ""
}

func podStatus(ref Ref, p *corev1.Pod, captured bool) Status {
	s := Status{Ref: ref, Accepted: true, Parts: waypointParts(p.Labels)}
	switch {
	case ended(p):
		s.Message = "has ended"
	case len(podIPs(p)) == 0:
		s.Message = "has no address"
	case p.Spec.HostNetwork:
		s.Message = "spec.hostNetwork: not captured"
	case captured:
		s.EnforcedBy = ztunnel
	default:
		s.Message = "not captured"
	}
	return s
}
