package engine

import (
	"net/netip"
	"os"
	"slices"
	"sync/atomic"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Pod is one enrolled pod of this node. All but its counters is immutable.
type Pod struct {
	UID            string // the agent's name for it (Kubernetes' pod UID)
	Workload       string // the mesh's: "<cluster>//Pod/<namespace>/<name>"
	Namespace      string
	Name           string
	ServiceAccount string
	Addrs          []netip.Addr // unmapped
	Identity       identity.ID
	Mark           uint32   // SO_MARK of legs to applications in this pod
	NetNS          *os.File // of whoever made the Pod, who closes it after Engine.Remove has returned; nil: the process's own

	Limits Limits
	Usage  Usage

	// Leaving is set while the pod is being un-enrolled: what comes to it in plaintext is what will reach
	// it past the proxy in a moment, so it is let in as it will be then. Tunnels are judged as before.
	Leaving atomic.Bool
}

// Owns reports whether addr is one of the pod's addresses.
func (p *Pod) Owns(addr netip.Addr) bool {
	return slices.Contains(p.Addrs, addr)
}

// Limits bound what one pod can take from the others of its node. A field that is 0 means no bound.
type Limits struct {
	Connections int64 // captured connections and tunnels that live
	Handshakes  int64 // TLS handshakes in flight, both ways
	Tunnels     int64 // mTLS connections, both ways
	Queued      int64 // bytes received from tunnels and not yet delivered
}

// DefaultLimits is the table of limits.
func DefaultLimits() Limits {
	return Limits{Connections: 10_000, Handshakes: 256, Tunnels: 4_096, Queued: 64 << 20}
}

// Usage counts what a pod uses. The engine keeps it.
type Usage struct {
	Connections atomic.Int64
	Handshakes  atomic.Int64
	Tunnels     atomic.Int64
	Queued      atomic.Int64
	LastAccept  atomic.Int64 // Unix nanoseconds of the last connection or tunnel accepted; 0: none
}
