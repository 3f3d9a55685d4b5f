package authz

import "github.com/ambitmesh/ambit/internal/reason"

// Set is all policies that apply to one destination, prepared to be judged by: those that name whom they are
// about are looked at for those only, so a crowd of policies costs a connection nothing. Immutable.
type Set struct {
	policies []*Policy
	unknown  []string
	deny     index
	allow    index
	dry      []*Policy
	present  int // ALLOW policies that are enforced
	none     Verdict
}

// NewSet prepares policies and names that are not known, as [Judge] takes them. It keeps both slices, which
// nobody changes afterwards.
func NewSet(policies []*Policy, unknown []string) *Set {
	s := &Set{policies: policies, unknown: unknown}
	for i, p := range policies {
		switch {
		case p.dryRun:
			s.dry = append(s.dry, p)
		case p.action == Deny:
			s.deny.add(i, p)
		default:
			s.present++
			s.allow.add(i, p)
		}
	}
	if s.present > 0 {
		s.none.Reason, s.none.Policy, s.none.Detail = noAllow(policies, s.present)
	}
	return s
}

// Policies returns the policies in the order in which they are judged. They are the Set's.
func (s *Set) Policies() []*Policy { return s.policies }

// Unknown returns the names that are not known. They are the Set's.
func (s *Set) Unknown() []string { return s.unknown }

// Judge gives the verdict of [Judge].
func (s *Set) Judge(f *Flow) Verdict {
	flow := Flow{Source: f.Source, SourceIP: f.SourceIP.Unmap(), Dest: f.Dest}
	var v Verdict
	v.DryRun = dryRunDenies(&flow, s.dry)
	if p, r := s.deny.first(s.policies, &flow); p != nil {
		return v.refuse(p.denyReason(r, &flow))
	}
	if len(s.unknown) > 0 {
		return v.refuse(reason.PolicyUnknown, s.unknown[0], unknownPolicy)
	}
	if p, _ := s.allow.first(s.policies, &flow); p != nil {
		v.Allowed, v.Policy = true, p.key
		return v
	}
	v.DryRun = append(v.DryRun, dryRunAllows(&flow, s.dry)...)
	if s.present == 0 {
		v.Allowed = true
		return v
	}
	return v.refuse(s.none.Reason, s.none.Policy, s.none.Detail)
}
