package decide

import (
	"slices"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// own returns the mesh's record of a pod. A record of another identity, or with none of the pod's
// addresses, is of an earlier pod of that name.
func own(snap *mesh.Snapshot, p *engine.Pod) (*mesh.Workload, refusal) {
	w := snap.Workload(p.Workload)
	switch {
	case w == nil:
		return nil, refusal{reason.WorkloadUnknown, "the mesh has no record of this pod"}
	case !slices.ContainsFunc(w.Addrs, p.Owns):
		return nil, refusal{reason.WorkloadUnknown, "the mesh's record of this pod has none of its addresses"}
	case w.Identity != p.Identity:
		return nil, refusal{reason.WorkloadUnknown, "the mesh's record of this pod is of " + w.Identity.String()}
	}
	return w, refusal{}
}

// reserved reports whether the mesh itself listens on port in every pod: a connection that ended there
// would be a loop, or a tunnel in a tunnel.
func reserved(port uint16) bool { return port == 15001 || port == 15006 || port == hbonePort }

const hbonePort = 15008
