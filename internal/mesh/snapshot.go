package mesh

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/reason"
)

// Snapshot is the mesh at one moment. It is immutable; lookups take no lock and allocate nothing
// (PoliciesFor and Judge once per workload and change of policy).
type Snapshot struct {
	generation                          uint64
	addressesComplete, policiesComplete bool

	workloads  trie[string, *workloadRecord] // by uid
	byAddr     trie[netip.Addr, []*Workload] // the newest claim last
	services   trie[string, *serviceRecord]  // by key
	byVIP      trie[netip.Prefix, []*Service]
	cidrs      [2][]cidrLength // IPv4, IPv6: lengths of blocks in byVIP, longest first
	byHostname trie[string, []*Service]
	members    trie[string, *members] // by service key, whether the service is known or not

	policyEpoch uint64 // counts changes of policy
	policies    trie[string, *policyRecord]
	global      []*authz.Policy
	ofNamespace trie[string, []*authz.Policy]

	seen map[string]string
}

// resource is what came over the wire, kept for Save and for the next stream's initial versions.
type resource struct {
	version string
	raw     []byte // nil: could not be decoded
}

type workloadRecord struct {
	*Workload
	resource
	order uint64 // of the claim of its addresses
	cache atomic.Pointer[policySet]
}

type serviceRecord struct {
	*Service
	resource
}

type policyRecord struct {
	*authz.Policy
	resource
}

// policySet is what applies to one workload at one policy epoch.
type policySet struct {
	*authz.Set
	epoch uint64
}

type cidrLength struct{ bits, count int }

// Synced reports whether both types have been answered completely at least once. Before that nothing
// inbound may be admitted.
func (s *Snapshot) Synced() bool { return s.addressesComplete && s.policiesComplete }

// Generation counts publishes; a newer snapshot has a higher one.
func (s *Snapshot) Generation() uint64 { return s.generation }

// Workload returns the workload with that uid, or nil.
func (s *Snapshot) Workload(uid string) *Workload {
	if r, ok := s.workloads.get(uid); ok {
		return r.Workload
	}
	return nil
}

// WorkloadAt returns the workload with that address, or nil. Workloads of the host network have none
// of their own. Where several claim one address, the one that claimed it last has it.
func (s *Snapshot) WorkloadAt(addr netip.Addr) *Workload {
	if claims, ok := s.byAddr.get(addr.Unmap()); ok {
		return claims[len(claims)-1]
	}
	return nil
}

// Service returns the service with that key ("namespace/hostname"), or nil.
func (s *Snapshot) Service(key string) *Service {
	if r, ok := s.services.get(key); ok {
		return r.Service
	}
	return nil
}

// ServiceAt returns the service that a client in clientNamespace means by addr, or nil: exact
// addresses before blocks; only what is visible there; the client's own namespace first, then, for
// blocks, the longest, then the canonical service, then the first by key.
func (s *Snapshot) ServiceAt(addr netip.Addr, clientNamespace string) *Service {
	addr = addr.Unmap()
	if !addr.IsValid() {
		return nil
	}
	if list, ok := s.byVIP.get(netip.PrefixFrom(addr, addr.BitLen())); ok {
		if best := choose(list, clientNamespace); best != nil {
			return best
		}
	}
	return s.serviceAround(addr, clientNamespace)
}

func (s *Snapshot) serviceAround(addr netip.Addr, clientNamespace string) *Service {
	var longest *Service
	for _, l := range s.cidrs[family(addr)] {
		p, _ := addr.Prefix(l.bits)
		list, ok := s.byVIP.get(p)
		if !ok {
			continue
		}
		best := choose(list, clientNamespace)
		if best != nil && best.Namespace == clientNamespace {
			return best
		}
		longest = cmp.Or(longest, best)
	}
	return longest
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// choose picks among services on one address; list is in order of keys.
func choose(list []*Service, clientNamespace string) (best *Service) {
	for _, svc := range list {
		own := svc.Namespace == clientNamespace
		switch {
		case svc.Private && !own:
		case own:
			return svc
		case best == nil || svc.Canonical && !best.Canonical:
			best = svc
		}
	}
	return best
}

// ServiceOf returns the service with that hostname, or nil: of several the canonical one, else the
// first by key. Private services are known by their key only.
func (s *Snapshot) ServiceOf(hostname string) *Service {
	list, _ := s.byHostname.get(hostname)
	return choose(list, "")
}

// Endpoints returns the endpoints of svc that may be used: the healthy ones, or all if the service
// publishes all. The caller must not change the slice. The same slice is returned until the
// endpoints change.
func (s *Snapshot) Endpoints(svc *Service) []Endpoint {
	m, ok := s.members.get(svc.Key)
	switch {
	case !ok:
		return nil
	case svc.PublishAll:
		return m.all
	}
	return m.ready
}

// PoliciesFor returns the policies that apply to w (those of the whole mesh, of its namespace, and
// those that its record names, each by key) and the names on it that are not known.
func (s *Snapshot) PoliciesFor(w *Workload) (policies []*authz.Policy, unknown []string) {
	set := s.policySet(w)
	return set.Policies(), set.Unknown()
}

func (s *Snapshot) policySet(w *Workload) *policySet {
	r, ok := s.workloads.get(w.UID)
	if !ok || r.Workload != w {
		return s.collect(w)
	}
	if set := r.cache.Load(); set != nil && set.epoch == s.policyEpoch {
		return set
	}
	set := s.collect(w)
	r.cache.Store(set)
	return set
}

func (s *Snapshot) collect(w *Workload) *policySet {
	inNamespace, _ := s.ofNamespace.get(w.Namespace)
	policies, unknown := slices.Concat(s.global, inNamespace), []string(nil)
	have := make(map[*authz.Policy]struct{}, len(policies)+len(w.Policies))
	for _, p := range policies {
		have[p] = struct{}{}
	}
	for _, name := range w.Policies {
		r, ok := s.policies.get(name)
		if !ok {
			unknown = append(unknown, name)
			continue
		}
		if _, again := have[r.Policy]; !again {
			have[r.Policy] = struct{}{}
			policies = append(policies, r.Policy)
		}
	}
	return &policySet{authz.NewSet(policies, unknown), s.policyEpoch}
}

// Judge judges a connection to w. Until the snapshot is synced nothing is allowed.
func (s *Snapshot) Judge(w *Workload, f *authz.Flow) authz.Verdict {
	switch {
	case !s.Synced():
		return authz.Verdict{Reason: reason.NotSynced, Detail: "the controller has not answered completely yet"}
	case w == nil:
		return authz.Verdict{Reason: reason.WorkloadUnknown, Detail: "no record of the destination workload"}
	}
	return s.policySet(w).Judge(f)
}

// Policy returns the policy of that name ("namespace/name"), or nil.
func (s *Snapshot) Policy(key string) *authz.Policy {
	if r, ok := s.policies.get(key); ok {
		return r.Policy
	}
	return nil
}

// Workloads iterates in no particular order.
func (s *Snapshot) Workloads() iter.Seq[*Workload] {
	return pick(&s.workloads, func(r *workloadRecord) *Workload { return r.Workload })
}

// Services iterates in no particular order.
func (s *Snapshot) Services() iter.Seq[*Service] {
	return pick(&s.services, func(r *serviceRecord) *Service { return r.Service })
}

// Policies iterates in no particular order.
func (s *Snapshot) Policies() iter.Seq[*authz.Policy] {
	return pick(&s.policies, func(r *policyRecord) *authz.Policy { return r.Policy })
}

func pick[R, T any](t *trie[string, R], of func(R) T) iter.Seq[T] {
	return func(yield func(T) bool) {
		t.root.each(func(r R) bool { return yield(of(r)) })
	}
}

// Size returns how many workloads, services and policies there are.
func (s *Snapshot) Size() (workloads, services, policies int) {
	return s.workloads.size, s.services.size, s.policies.size
}
