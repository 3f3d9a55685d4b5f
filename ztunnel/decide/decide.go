package decide

import (
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// SameNode is how two enrolled pods of this node are connected.
type SameNode string

// The ways.
const (
	HandOver SameNode = "proxy"  // inside the proxy: identity and policy, but no TLS with itself
	Direct   SameNode = "direct" // by the kernel once the proxy has allowed it; the first time as with HandOver
	MTLS     SameNode = "mtls"   // like pods of two nodes
)

// Options configure a Decider.
type Options struct {
	Store    *mesh.Store
	Balancer *balance.Balancer
	Node     string // this proxy's
	// LocalPods returns the pod with that address if it is enrolled here and served, else nil. It must
	// not block. Nil: no pod is known, so every call to another pod goes through a tunnel.
	LocalPods func(netip.Addr) *engine.Pod
	SameNode  SameNode // "": HandOver
	// HandedOver is told of a connection between two pods of this node that was established, with Direct: the
	// next ones like it may go past the proxy. It must not block. Nil: nobody.
	HandedOver func(caller *engine.Pod, to netip.AddrPort)

	Telemetry *telemetry.Telemetry // nil: nothing is counted
	AccessLog *telemetry.AccessLog // nil: nothing is written
	Now       func() time.Time     // nil: time.Now
	Random    func() uint64        // for trace identifiers; nil: math/rand/v2
	Log       *slog.Logger         // nil: discard

	WorkloadWait time.Duration // for a pod's own record, and for the first complete answer; 0: 5 s
	PolicyWait   time.Duration // for a policy whose name a workload bears; 0: 5 s
	Attempts     int           // dials per connection at most; 0: 3
	RetryWithin  time.Duration // since the accept: later, a failed dial is final; 0: 15 s
}

// Decider implements engine.Decider. Safe for concurrent use.
type Decider struct {
	opts  Options
	later chan time.Duration // asks the Watcher for another Recheck

	peers    memo[peersKey, []string]
	uris     memo[identity.ID, string]
	baggage  memo[*mesh.Workload, string]
	response memo[*mesh.Workload, []hpack.HeaderField]
	changes  int // since the memos forgot; only the store's subscription touches it
}

var _ engine.Decider = (*Decider)(nil)

// New returns a Decider.
func New(o Options) *Decider {
	if o.SameNode == "" {
		o.SameNode = HandOver
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LocalPods == nil {
		o.LocalPods = func(netip.Addr) *engine.Pod { return nil }
	}
	o.WorkloadWait = orElse(o.WorkloadWait, 5*time.Second)
	o.PolicyWait = orElse(o.PolicyWait, 5*time.Second)
	o.RetryWithin = orElse(o.RetryWithin, 15*time.Second)
	if o.Attempts == 0 {
		o.Attempts = 3
	}
	d := &Decider{opts: o, later: make(chan time.Duration, 1)}
	o.Store.Subscribe(d.changed)
	return d
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Accepted implements engine.Decider.
func (d *Decider) Accepted(r *engine.Record) engine.Plan {
	if r.Kind == engine.Outbound {
		return d.outbound(r)
	}
	return d.inbound(r)
}
