package balance

import (
	"sync"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Lease is one connection's use of an endpoint. It is not for concurrent use.
type Lease struct {
	b        *Balancer
	host     *host
	source   string
	identity identity.ID
	reported bool
}

// leases are reused: a connection costs no allocation here.
var leases = sync.Pool{New: func() any { return new(Lease) }}

func newLease(b *Balancer, h *host, want Want) *Lease {
	l := leases.Get().(*Lease)
	*l = Lease{b: b, host: h, source: want.Source, identity: want.Identity}
	return l
}

// Report says how the attempt went; only the first report counts. source is the uid of the source
// pod; "" means the one that picked.
func (l *Lease) Report(o Outcome, source string) {
	if l == nil || l.host == nil || l.reported {
		return
	}
	l.reported = true
	if source == "" {
		source = l.source
	}
	if o == Neutral {
		return
	}
	s, now := l.host.service, l.b.opts.Now()
	s.mu.Lock()
	events := l.host.report(o, blame{pod: source, identity: l.identity}, now)
	s.mu.Unlock()
	l.b.tell(events)
}

// Release ends the use. The Lease must not be touched afterwards.
func (l *Lease) Release() {
	if l == nil || l.host == nil {
		return
	}
	s := l.host.service
	s.mu.Lock()
	l.host.inFlight--
	s.mu.Unlock()
	*l = Lease{}
	leases.Put(l)
}
