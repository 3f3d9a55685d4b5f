package decide

import (
	"net/netip"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// visit is a connection that asks to come in to a pod.
type visit struct {
	snap   *mesh.Snapshot
	pod    *engine.Pod
	source identity.ID // verified; zero: plaintext
	from   netip.Addr  // as TCP says
	target netip.AddrPort
}

// entry is the judgement of a visit.
type entry struct {
	refusal
	own    *mesh.Workload // the destination's record; nil if unknown
	policy string
	dryRun []string
}

// admit judges a visit. It is the one way in: tunnels, plaintext, hand-overs, later changes, and
// explanations all come through here.
func admit(v *visit) entry {
	var e entry
	if e.own, e.refusal = own(v.snap, v.pod); e.own == nil {
		return e
	}
	switch {
	case !v.pod.Owns(v.target.Addr()):
		e.refusal = refusal{reason.Authority, v.target.Addr().String() + " is not an address of this pod"}
		return e
	case reserved(v.target.Port()):
		e.refusal = refusal{reason.ReservedPort, "a call to the mesh's own port"}
		return e
	case v.source.IsZero() && v.pod.Leaving.Load():
		return e // no policy: in a moment the mesh has nothing to do with it
	}
	verdict := v.snap.Judge(e.own, &authz.Flow{Source: v.source, SourceIP: v.from, Dest: v.target})
	e.policy, e.dryRun = verdict.Policy, verdict.DryRun
	if !verdict.Allowed {
		e.refusal = refused(&verdict)
	}
	return e
}
