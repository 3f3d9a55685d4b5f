package decide

import (
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Rejudge implements engine.Decider: connections into a pod of this node are judged again by what the
// mesh says of that pod now, whose labels and policies may be others. Connections to elsewhere are the
// other end's to judge; they stay also when their endpoint is gone.
func (d *Decider) Rejudge(r *engine.Record) (reason.Reason, bool) {
	st := of(r)
	v := visit{snap: d.opts.Store.Snapshot(), pod: r.Pod, from: r.Source.Addr(), target: r.Target}
	switch {
	case r.Kind == engine.HBONE:
		v.source = r.Peer
	case st.hand != nil:
		v.pod, v.source = st.hand.pod, r.Pod.Identity
		v.from = r.Attempt.Dial.Source
	case r.Kind == engine.Outbound:
		return reason.None, true
	}
	e := entry{refusal: taken(&v)}
	if e.none() {
		e = admit(&v)
	}
	return d.keep(st, &e)
}

// taken reports that the mesh gives the address that was called to another identity now.
func taken(v *visit) refusal {
	w := v.snap.WorkloadAt(v.target.Addr())
	if w == nil || w.Identity == v.pod.Identity {
		return refusal{}
	}
	return refusal{reason.WorkloadUnknown, "the address is now of " + w.UID}
}

// keep decides on a live connection. One whose policy is not known yet is held, not ended, for as long
// as a new connection would wait.
func (d *Decider) keep(st *state, e *entry) (reason.Reason, bool) {
	if e.none() {
		if st.rare != nil {
			st.rare.unknown = time.Time{}
		}
		return reason.None, true
	}
	if e.why == reason.PolicyUnknown && d.hold(st) {
		return reason.None, true
	}
	why := st.more()
	why.endedBy = e.policy
	if e.why == reason.WorkloadUnknown {
		why.ended = e.detail
		return e.why, false
	}
	why.ended = string(e.why) + ": " + e.detail
	d.hit(engine.Refuse, &entry{refusal: e.refusal, policy: e.policy})
	return reason.PolicyChanged, false
}

func (d *Decider) hold(st *state) bool {
	now, since := d.opts.Now(), &st.more().unknown
	if since.IsZero() {
		*since = now
	}
	left := d.opts.PolicyWait - now.Sub(*since)
	if left <= 0 {
		return false
	}
	select {
	case d.later <- left:
	default: // the Watcher has been asked already, for a time that is as near
	}
	return true
}
