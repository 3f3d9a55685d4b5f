package engine

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
)

// Action is what a Plan asks for.
type Action uint8

// The actions.
const (
	Refuse  Action = iota // the zero Plan refuses
	Wait                  // ask again when Until is closed, refuse after Deadline
	Plain                 // dial TCP in the record's pod's namespace, without a mark
	Tunnel                // open an HBONE tunnel from the record's pod's namespace
	Deliver               // dial the application in Dial.Pod's namespace, with the source's address and the mark
)

// Plan is what to do next with a connection.
type Plan struct {
	Action Action

	// Refuse. Captured connections are reset; tunnels are answered with Status (0: 503).
	Reason reason.Reason
	Detail string
	Status int

	// Wait. After Deadline the connection is refused with Reason, Detail and Status.
	Until    <-chan struct{}
	Deadline time.Time

	// Plain, Tunnel, Deliver.
	Dial Dial

	// HBONE only: fields of the 200 (baggage).
	Header []hpack.HeaderField
}

// Dial says where a leg goes.
type Dial struct {
	Action  Action         // Plain, Tunnel or Deliver
	To      netip.AddrPort // where TCP connects to; of a tunnel the proxy, pod:15008
	Timeout time.Duration  // of the whole attempt; 0: the engine's (10 s)

	// Deliver.
	Pod    *Pod       // the destination
	Source netip.Addr // the address that the application sees; invalid, or one of Pod's own: not bound

	// Tunnel. The pool's key is source pod, identity, Peers and To. The Request is not nil, and not changed.
	Peers   []string // SPIFFE URIs, one of which the peer must have; the Decider's, unchanged afterwards
	Request *hbone.Request
}

// DialError is why an attempt failed. Reason is one of ConnectRefused, ConnectTimeout, Unreachable,
// TLSFailure, TrustDomain, WrongPeer, PeerRefused, PeerUnavailable, BadRequest, TunnelLost,
// IdentityError, Limit, Internal.
type DialError struct {
	Reason reason.Reason
	Status int // of a tunnel that was answered, else 0
	Err    error
}

// Error names the reason.
func (e *DialError) Error() string { return fmt.Sprintf("%s: %v", e.Reason, e.Err) }

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// Certs gives out certificates. Get returns the current certificate of id, or nil and a channel that is
// closed when asking again makes sense. It may be called from any goroutine and does not block.
type Certs interface {
	Get(id identity.ID) (*identity.Cert, <-chan struct{})
}
