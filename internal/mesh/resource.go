package mesh

import (
	"fmt"
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// The versions and the wire form of what was accepted.

// AddressVersions returns name to version of all workloads and services, for the first request of a
// stream. A resource whose last update was refused has the version of the one in use.
func (s *Snapshot) AddressVersions() map[string]string {
	out := make(map[string]string, s.workloads.size+s.services.size)
	s.workloads.root.each(func(r *workloadRecord) bool { out[r.UID] = r.version; return true })
	s.services.root.each(func(r *serviceRecord) bool { out[r.Key] = r.version; return true })
	return out
}

// PolicyVersions returns name to version of all policies; "" for one that was refused, so that it is
// sent again.
func (s *Snapshot) PolicyVersions() map[string]string {
	out := make(map[string]string, s.policies.size)
	s.policies.root.each(func(r *policyRecord) bool { out[r.Key()] = r.version; return true })
	return out
}

// Seen returns type URL to the last system version.
func (s *Snapshot) Seen() map[string]string { return maps.Clone(s.seen) }

// AddressMessage returns the message that a workload (by uid) or service (by key) came in, or nil.
func (s *Snapshot) AddressMessage(name string) *workload.Address {
	var raw []byte
	if r, ok := s.workloads.get(name); ok {
		raw = r.raw
	} else if r, ok := s.services.get(name); ok {
		raw = r.raw
	}
	out := &workload.Address{}
	if raw == nil || proto.Unmarshal(raw, out) != nil {
		return nil
	}
	return out
}

// PolicyMessage returns the message that a policy came in; nil if there is none or it could not be
// decoded.
func (s *Snapshot) PolicyMessage(key string) *security.Authorization {
	r, ok := s.policies.get(key)
	out := &security.Authorization{}
	if !ok || r.raw == nil || proto.Unmarshal(r.raw, out) != nil {
		return nil
	}
	return out
}

func encode(m proto.Message) ([]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err == nil && len(raw) > maxResource {
		err = fmt.Errorf("%d bytes, at most %d", len(raw), maxResource)
	}
	return raw, err
}
