package mesh

import (
	"iter"
	"net/netip"

	"github.com/ambitmesh/ambit/internal/authz"
)

// Snapshot is the mesh at one moment. It is immutable; lookups take no lock and allocate nothing.
type Snapshot struct{}

// Synced reports whether both types have been answered completely at least once.
func (s *Snapshot) Synced() bool { return false }

// Generation counts publishes; a newer snapshot has a higher one.
func (s *Snapshot) Generation() uint64 { return 0 }

// Workload returns the workload with that uid, or nil.
func (s *Snapshot) Workload(uid string) *Workload { return nil }

// WorkloadAt returns the workload with that address, or nil.
func (s *Snapshot) WorkloadAt(addr netip.Addr) *Workload { return nil }

// Service returns the service with that key ("namespace/hostname"), or nil.
func (s *Snapshot) Service(key string) *Service { return nil }

// ServiceAt returns the service that a client in clientNamespace means by addr, or nil.
func (s *Snapshot) ServiceAt(addr netip.Addr, clientNamespace string) *Service { return nil }

// ServiceOf returns a service with that hostname, or nil.
func (s *Snapshot) ServiceOf(hostname string) *Service { return nil }

// Endpoints returns the endpoints of svc that may be used. The caller must not change the slice.
func (s *Snapshot) Endpoints(svc *Service) []Endpoint { return nil }

// PoliciesFor returns the policies that apply to w and the names on it that are not known.
func (s *Snapshot) PoliciesFor(w *Workload) (policies []*authz.Policy, unknown []string) {
	return nil, nil
}

// Judge judges a connection to w.
func (s *Snapshot) Judge(w *Workload, f *authz.Flow) authz.Verdict { return authz.Verdict{} }

// Workloads iterates in no particular order.
func (s *Snapshot) Workloads() iter.Seq[*Workload] { return func(func(*Workload) bool) {} }

// Services iterates in no particular order.
func (s *Snapshot) Services() iter.Seq[*Service] { return func(func(*Service) bool) {} }

// Policies iterates in no particular order.
func (s *Snapshot) Policies() iter.Seq[*authz.Policy] { return func(func(*authz.Policy) bool) {} }
