// Package balance picks endpoints (least request, power of two choices, weighted by capacity) and
// ejects those that fail, so that no client can eject an endpoint for another.
package balance

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
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
	From     Place       // of the client, for services with LocalOnly or Prefer
	Source   string      // uid of the source pod
	Identity identity.ID // of the source pod; two of them must agree where one may lie
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
type Balancer struct {
	opts Options

	mu       sync.RWMutex
	services map[string]*service // under mu
	pruneAt  int                 // under mu: number of services at which idle ones are dropped
}

// pruneMin and idle say when the state of services that nobody uses is dropped.
const (
	pruneMin = 256
	idle     = 10 * time.Minute
)

// New returns a Balancer.
func New(o Options) *Balancer {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Uint64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Balancer{opts: o, services: map[string]*service{}, pruneAt: pruneMin}
}

// Pick chooses among eps one that is not in tried: of two drawn by capacity the one with fewer
// connections in flight for its capacity. Ejected endpoints are taken only when nothing else is left.
// With svc nil (a workload addressed by itself) there is nothing to balance: the first one not tried
// is taken. It reports false if there is no endpoint. eps must not change afterwards.
//
// The Lease is to be released once; its methods may be called on nil.
func (b *Balancer) Pick(svc *mesh.Service, eps []mesh.Endpoint, tried []*mesh.Workload, want Want) (mesh.Endpoint, *Lease, bool) {
	if svc == nil {
		return first(eps, tried)
	}
	if len(eps) == 0 {
		return mesh.Endpoint{}, nil, false
	}
	now := b.opts.Now()
	s := b.service(svc.Key, now)
	s.mu.Lock()
	q := query{service: s, tried: tried, source: want.Source, now: now, rand: b.opts.Rand}
	s.use(svc, eps, now)
	i := q.choose(want)
	if i < 0 {
		s.mu.Unlock()
		b.tell(q.events)
		return mesh.Endpoint{}, nil, false
	}
	h := s.hostAt(i)
	h.inFlight++
	s.mu.Unlock()
	b.tell(q.events)
	return eps[i], newLease(b, h, want), true
}

func first(eps []mesh.Endpoint, tried []*mesh.Workload) (mesh.Endpoint, *Lease, bool) {
	for _, e := range eps {
		if !wasTried(tried, e.Workload) {
			return e, nil, true
		}
	}
	return mesh.Endpoint{}, nil, false
}

// wasTried compares uids: the list may come from an older snapshot.
func wasTried(tried []*mesh.Workload, w *mesh.Workload) bool {
	for _, t := range tried {
		if t.UID == w.UID {
			return true
		}
	}
	return false
}

func (b *Balancer) service(key string, now time.Time) *service {
	b.mu.RLock()
	s := b.services[key]
	b.mu.RUnlock()
	if s != nil {
		return s
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.services[key]; s != nil {
		return s
	}
	if len(b.services) >= b.pruneAt {
		b.prune(now)
	}
	s = &service{key: key, hosts: map[string]*host{}, used: now}
	b.services[key] = s
	return s
}

// prune drops services that nobody used for a while; b.mu is held.
func (b *Balancer) prune(now time.Time) {
	for key, s := range b.services {
		if s.idleSince(now.Add(-idle)) {
			delete(b.services, key)
		}
	}
	b.pruneAt = max(pruneMin, 2*len(b.services))
}

// State lists the endpoints that have been picked, by service and uid.
func (b *Balancer) State() []EndpointState {
	b.mu.RLock()
	services := make([]*service, 0, len(b.services))
	for _, s := range b.services {
		services = append(services, s)
	}
	b.mu.RUnlock()
	var out []EndpointState
	now := b.opts.Now()
	for _, s := range services {
		states, events := s.states(now)
		out = append(out, states...)
		b.tell(events)
	}
	slices.SortFunc(out, func(x, y EndpointState) int {
		return cmp.Or(cmp.Compare(x.Service, y.Service), cmp.Compare(x.Workload, y.Workload))
	})
	return out
}

// tell reports ejections; no lock is held.
func (b *Balancer) tell(events []event) {
	for _, e := range events {
		b.opts.Log.Info(e.what, "service", e.state.Service, "workload", e.state.Workload, "for", e.whom,
			"until", e.state.Until, "times", e.state.Times, "from", e.state.From)
		switch {
		case b.opts.Observer == nil || e.whom != "all":
		case e.state.Ejected:
			b.opts.Observer.Ejected(e.state)
		default:
			b.opts.Observer.Restored(e.state)
		}
	}
}

// event is one ejection or its end.
type event struct {
	what  string
	whom  string // "all" or the uid of a source pod
	state EndpointState
}
