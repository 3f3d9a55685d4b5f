package authz

import "github.com/ambitmesh/ambit/internal/reason"

const (
	plaintextRefused = "mutual TLS is required and the peer came in plaintext"
	unknownPolicy    = "the workload names a policy that is not known"
	noneMatched      = "several ALLOW policies apply and none matches"
)

// Judge judges f by the policies that apply to the destination. unknown are names on the destination
// that are not known: unless a DENY matches already, the verdict is PolicyUnknown, and the caller
// may wait for them. It allocates only to note dry-run policies.
//
// Order: dry-run DENY noted; DENY; unknown; dry-run ALLOW noted; no ALLOW: allowed; ALLOW; refused.
func Judge(f *Flow, policies []*Policy, unknown []string) Verdict {
	flow := Flow{Source: f.Source, SourceIP: f.SourceIP.Unmap(), Dest: f.Dest}
	var v Verdict
	v.DryRun = dryRunDenies(&flow, policies)
	for _, p := range policies {
		if p.action == Deny && !p.dryRun {
			if r, ok := p.match(&flow); ok {
				return v.refuse(p.denyReason(r, &flow))
			}
		}
	}
	if len(unknown) > 0 {
		return v.refuse(reason.PolicyUnknown, unknown[0], unknownPolicy)
	}
	return judgeAllows(&flow, policies, v)
}

func judgeAllows(f *Flow, policies []*Policy, v Verdict) Verdict {
	present := 0
	for _, p := range policies {
		if p.action != Allow || p.dryRun {
			continue
		}
		present++
		if p.matches(f) {
			v.Allowed, v.Policy = true, p.key
			return v
		}
	}
	v.DryRun = append(v.DryRun, dryRunAllows(f, policies)...)
	if present == 0 {
		v.Allowed = true
		return v
	}
	return v.refuse(noAllow(policies, present))
}

func (v *Verdict) refuse(r reason.Reason, policy, detail string) Verdict {
	v.Reason, v.Policy, v.Detail = r, policy, detail
	return *v
}

// match reports whether the policy matches and by which rule; nil if by none in particular.
func (p *Policy) match(f *Flow) (*rule, bool) {
	if p.unreadable != "" {
		return nil, p.action == Deny
	}
	for i := range p.rules {
		if p.rules[i].matches(f, p.action) {
			return &p.rules[i], true
		}
	}
	return nil, false
}

func (p *Policy) matches(f *Flow) bool {
	_, ok := p.match(f)
	return ok
}

func (p *Policy) denyReason(r *rule, f *Flow) (why reason.Reason, policy, detail string) {
	switch {
	case p.unreadable != "":
		return reason.PolicyUnreadable, p.key, p.matched
	case f.Source.IsZero() && (r.plaintextOnly || p.kind == "PeerAuthentication"):
		return reason.MTLSRequired, p.key, plaintextRefused
	}
	return reason.PolicyDeny, p.key, p.matched
}

// noAllow says why no ALLOW policy matched, the most telling cause first.
func noAllow(policies []*Policy, present int) (why reason.Reason, policy, detail string) {
	last := (*Policy)(nil)
	for _, p := range policies {
		if p.action != Allow || p.dryRun {
			continue
		}
		if p.unreadable != "" {
			return reason.PolicyUnreadable, p.key, p.unmatched
		}
		if p.needsL7 != "" && why == reason.None {
			why, policy, detail = reason.PolicyNeedsL7, p.key, p.needsL7
		}
		last = p
	}
	switch {
	case why != reason.None:
		return why, policy, detail
	case present == 1:
		return reason.PolicyNoAllow, last.key, last.unmatched
	}
	return reason.PolicyNoAllow, "", noneMatched
}

func dryRunDenies(f *Flow, policies []*Policy) (noted []string) {
	for _, p := range policies {
		if p.dryRun && p.action == Deny && p.matches(f) {
			noted = append(noted, p.key)
		}
	}
	return noted
}

// dryRunAllows notes all dry-run ALLOW policies if none of them matches: enforced, they would refuse
// what no other ALLOW policy admits.
func dryRunAllows(f *Flow, policies []*Policy) (noted []string) {
	for _, p := range policies {
		if !p.dryRun || p.action != Allow {
			continue
		}
		if p.matches(f) {
			return nil
		}
		noted = append(noted, p.key)
	}
	return noted
}
