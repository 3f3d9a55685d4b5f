package engine

import (
	"net/netip"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/internal/telemetry"
)

// Kind is how a connection came in.
type Kind uint8

// The kinds, in the order in which the agent numbers listeners.
const (
	Inbound  Kind = iota // plaintext to the pod
	Outbound             // from the pod
	HBONE                // tunnels to the pod
)

// String returns the word used in logs.
func (k Kind) String() string { return [...]string{"inbound", "outbound", "hbone"}[k] }

// Record is one connection (or one tunnel of an HBONE connection) from accept to end. The engine makes
// it; the Decider fills in its part during Accepted, Connect and Dialed; from Established on both parts
// are read-only except for the counters.
type Record struct {
	// The engine's.
	ID               uint64 // unique in this process
	Kind             Kind
	Attempts         int32          // dials made
	Pod              *Pod           // whose listener
	Source           netip.AddrPort // as TCP says, unmapped; never evidence of identity
	Dest             netip.AddrPort // Inbound, Outbound: the original destination; HBONE: where the peer connected to (pod:15008)
	Peer             identity.ID    // HBONE: the verified peer
	Request          *hbone.Request // HBONE: what opened the tunnel; nil if the handshake failed
	Accepted         time.Time
	Attempt          Attempt       // the last one
	First            time.Duration // from Accepted to the first byte back; 0: none came. Set before Answered
	Ended            time.Duration // from Accepted to the end
	Reason           reason.Reason // why refused or ended early; None for an orderly end
	Detail           string        // in words
	*telemetry.Bytes               // the only thing that changes while the connection lives; not nil
	TCPInfo          TCPInfo       // of the leg that was accepted, at the end; zero for tunnels

	// The Decider's.
	From    *mesh.Workload // source, nil if unknown
	To      *mesh.Workload // destination, nil if unknown
	Service *mesh.Service  // that was called, nil if none
	Target  netip.AddrPort // the application's address as far as known
	Policy  string         // "namespace/name" that decided
	Trace   string         // traceparent, the same at both ends
	State   any            // private to the Decider
}

// The Detail of a connection that one side reset. That is its right, so Reason is None; but before the
// first byte a server's reset says something of that server.
const (
	ResetByClient = "reset by the client"
	ResetByServer = "reset by the server"
)

// TCPInfo is what the kernel knows of a leg at its end.
type TCPInfo struct {
	RTT         time.Duration
	Retransmits uint32
}

// Attempt is one dial.
type Attempt struct {
	Dial      Dial
	Connected time.Duration // the TCP connect; 0 on a pooled tunnel
	Handshake time.Duration // the TLS handshake; 0 on a pooled tunnel and on plain legs
}
