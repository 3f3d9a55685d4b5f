// Package mesh is the proxy's view of the mesh: workloads, services and policies as immutable
// snapshots behind an atomic pointer, looked up without locks.
package mesh

import (
	"net/netip"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Protocol is how a workload is reached.
type Protocol uint8

// The protocols.
const (
	Plain Protocol = iota // TCP
	HBONE                 // CONNECT over mTLS to port 15008
)

// Near says how near to its client an endpoint is, or should be.
type Near uint8

// The distances, from far to near.
const (
	Anywhere Near = iota
	SameRegion
	SameZone
	SameNode
)

// Port maps a service port to an endpoint's port.
type Port struct {
	Service uint16
	Target  uint16 // 0: see the endpoint, or the service port
}

// Membership says which ports a workload serves for a service.
type Membership struct {
	Service string // its key, "namespace/hostname"
	Ports   []Port
}

// Workload is one endpoint of the mesh, as announced by the controller. Immutable.
type Workload struct {
	UID               string // "<cluster>//Pod/<namespace>/<name>"
	Name              string
	Namespace         string
	Identity          identity.ID
	Addrs             []netip.Addr // unmapped
	Protocol          Protocol
	Node              string
	Cluster           string
	Network           string
	CanonicalName     string
	CanonicalRevision string
	WorkloadName      string // controller's name, else the pod's
	WorkloadKind      string // "deployment", "cronjob", "pod", "job" (the word in baggage)
	Region, Zone      string
	Healthy           bool
	HostNetwork       bool
	Capacity          uint32       // load balancing weight, >= 1 unless 0 was said
	Policies          []string     // "namespace/name" of selector policies
	Services          []Membership // in the order of keys
	HasWaypoint       bool
}

// Service is a named set of workloads behind addresses. Immutable.
type Service struct {
	Key         string // "namespace/hostname"
	Name        string
	Namespace   string
	Hostname    string
	VIPs        []netip.Prefix
	Ports       []Port
	SANs        []string // extra SPIFFE URIs accepted of endpoints
	HasWaypoint bool
	PublishAll  bool // endpoints that are not ready count too
	LocalOnly   bool // internalTrafficPolicy: Local
	Prefer      Near // trafficDistribution
	Passthrough bool
	Canonical   bool
	Private     bool // visible in its own namespace only
	Outlier     Outlier
}

// Outlier is a service's ejection settings. The zero value means off.
type Outlier struct {
	ConsecutiveFailures uint32
	IntervalMillis      int64
	BaseEjectionMillis  int64
	MaxEjectionPercent  uint32
	From                string // for explain: "DestinationRule shop/payments"
}

// Endpoint is a workload as a member of a service.
type Endpoint struct {
	Workload *Workload
	Ports    []Port // the workload's own map for this service; may be empty
}
