package decide

import (
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// refusal is why something is not allowed. The zero refusal means that it is.
type refusal struct {
	why    reason.Reason
	detail string
}

func (f refusal) none() bool { return f.why == reason.None }

// passes reports whether waiting may help: the controller may still say what is missing.
func (f refusal) passes() bool {
	return f.why == reason.WorkloadUnknown || f.why == reason.NotSynced || f.why == reason.PolicyUnknown
}

// status is how a tunnel is answered.
func (f refusal) status() int {
	switch f.why {
	case reason.BadRequest, reason.Authority, reason.ReservedPort:
		return 400
	case reason.PolicyDeny, reason.PolicyNoAllow, reason.MTLSRequired, reason.PolicyUnknown,
		reason.PolicyUnreadable, reason.PolicyNeedsL7, reason.TLSFailure:
		return 401
	}
	return 503
}

// needsL7 are the words of status, log and explain alike.
const needsL7 = "refused: needs layer 7, no waypoint"

// refused turns a verdict into a refusal.
func refused(v *authz.Verdict) refusal {
	detail := v.Detail
	if v.Reason == reason.PolicyNeedsL7 && !strings.Contains(detail, needsL7) { // another controller's policy
		detail = needsL7 + ": " + detail
	}
	return refusal{v.Reason, detail}
}

// refuse makes the plan, or one that waits for changed if that may help.
func (d *Decider) refuse(r *engine.Record, f refusal, changed <-chan struct{}) engine.Plan {
	p := engine.Plan{Action: engine.Refuse, Reason: f.why, Detail: f.detail, Status: f.status()}
	if changed != nil && f.passes() {
		p.Action, p.Until, p.Deadline = engine.Wait, changed, r.Accepted.Add(d.waits(f.why))
	}
	return p
}

func (d *Decider) waits(why reason.Reason) time.Duration {
	if why == reason.PolicyUnknown {
		return d.opts.PolicyWait
	}
	return d.opts.WorkloadWait
}
