// Package balance picks endpoints (least request, power of two choices, weighted by capacity) and
// ejects those that fail, so that no client can eject an endpoint for another.
package balance

import (
	"log/slog"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
)

// Outcome is how an attempt at an endpoint went, as far as the endpoint is to blame.
type Outcome uint8

// The outcomes.
const (
	OK          Outcome = iota // the endpoint answered: bytes came back or it closed in good order
	Refused                    // connect refused
	TimedOut                   // connect timed out, or host unreachable
	TLSFailure                 // handshake failed
	Unavailable                // 503 from the endpoint's proxy
	EarlyReset                 // reset or closed before the first byte; may be the client's doing
	Neutral                    // 401, our own refusal, the client's reset or close: says nothing
)

// Options configure a Balancer. The zero value is usable.
type Options struct {
	Now      func() time.Time // nil: time.Now
	Rand     func() uint64    // nil: math/rand/v2
	Log      *slog.Logger     // nil: discard
	Observer Observer         // nil: none
}

// Observer is told of ejections. Calls are made without locks held.
type Observer interface {
	Ejected(EndpointState)
	Restored(EndpointState)
}

// Want says who picks and what suits it.
type Want struct {
	V6       bool        // the request came over IPv6: prefer endpoints that have an IPv6 address
	Node     string      // this proxy's node, for services with LocalOnly
	Source   string      // uid of the source pod
	Identity identity.ID // of the source pod
}

// EndpointState is one endpoint as the balancer sees it.
type EndpointState struct {
	Service     string // key
	Workload    string // uid
	InFlight    int
	Consecutive int       // failures in a row that count for all
	Ejected     bool      // for all
	Until       time.Time // end of the ejection
	Times       int       // ejections so far, less one for each quiet interval
	EjectedFor  []string  // uids of source pods that alone see it as ejected
	From        string    // where the settings come from
}

// Balancer keeps the load and the failures of endpoints. Safe for concurrent use.
type Balancer struct{}

// New returns a Balancer.
func New(Options) *Balancer { return &Balancer{} }

// Pick chooses among eps one that is not in tried. With svc nil (a workload addressed by itself)
// there is nothing to balance: the first one not tried is taken. The Lease is to be released once;
// its methods may be called on nil.
func (b *Balancer) Pick(svc *mesh.Service, eps []mesh.Endpoint, tried []*mesh.Workload, want Want) (mesh.Endpoint, *Lease, bool) {
	return mesh.Endpoint{}, nil, false
}

// State lists the endpoints that have been picked, by service and uid.
func (b *Balancer) State() []EndpointState { return nil }

// Lease is one connection's use of an endpoint.
type Lease struct{}

// Report says once how the attempt went. source is the uid of the source pod.
func (l *Lease) Report(o Outcome, source string) {}

// Release ends the use. The Lease must not be touched afterwards.
func (l *Lease) Release() {}
