package balance

import (
	"slices"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/internal/mesh"
)

// service is the state of one service's endpoints.
type service struct {
	key string

	mu      sync.Mutex
	hosts   map[string]*host // by uid; those that have been picked
	table   *table
	outlier mesh.Outlier
	used    time.Time
}

// use takes over the service's current settings and endpoints.
func (s *service) use(svc *mesh.Service, eps []mesh.Endpoint, now time.Time) {
	s.outlier, s.used = svc.Outlier, now
	if s.table.of(eps, svc) {
		return
	}
	s.table = newTable(eps, svc)
	kept := make(map[string]*host, len(s.hosts))
	for i := range eps {
		w := eps[i].Workload
		// An address that changed is another pod of the same name: it starts without a record.
		if h := s.hosts[w.UID]; h != nil && slices.Equal(h.addrs, w.Addrs) {
			kept[w.UID], s.table.hosts[i] = h, h
		}
	}
	s.hosts = kept
}

// hostAt returns the state of the i-th endpoint, made when it is picked for the first time.
func (s *service) hostAt(i int) *host {
	if s.table.hosts[i] == nil {
		w := s.table.eps[i].Workload
		h := &host{service: s, uid: w.UID, addrs: w.Addrs}
		s.hosts[w.UID], s.table.hosts[i] = h, h
	}
	return s.table.hosts[i]
}

func (s *service) idleSince(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		if h.inFlight > 0 {
			return false
		}
	}
	return s.used.Before(t)
}

func (s *service) states(now time.Time) (out []EndpointState, events []event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		events = append(events, h.restore(now)...)
		out = append(out, h.state(now))
	}
	return out, events
}

// mayEject follows Envoy's max_ejection_percent: one endpoint may always go (unless the percentage
// is 0), more only while the share stays within it.
func (s *service) mayEject(now time.Time) bool {
	ejected := 0
	for _, h := range s.hosts {
		if h.ejected && now.Before(h.until) {
			ejected++
		}
	}
	percent := int(s.outlier.MaxEjectionPercent)
	return percent > 0 && (ejected == 0 || (ejected+1)*100 <= percent*len(s.table.eps))
}

// query is one Pick.
type query struct {
	service *service
	tried   []*mesh.Workload
	source  string
	now     time.Time
	rand    func() uint64
	panic   bool // take ejected ones too
	events  []event
}

// choose returns the index of an endpoint, or -1. First choice are the nearest endpoints, where the
// service prefers them, that are not ejected and have the wanted IP family; then the other family, then
// those that are farther, and at last, in the same order, ejected ones.
func (q *query) choose(want Want) int {
	for _, q.panic = range [...]bool{false, true} {
		for _, tier := range q.service.table.tiersFrom(want.From) {
			for _, p := range [...]*pool{tier.family(want.V6), tier.any} {
				if i := q.among(p); i >= 0 {
					return i
				}
			}
		}
	}
	return -1
}

// among makes the power-of-two-choices draw in one pool.
func (q *query) among(p *pool) int {
	a := q.draw(p, -1)
	if a < 0 {
		return -1
	}
	b := q.draw(p, a)
	if b >= 0 && q.load(b)*q.weight(a) < q.load(a)*q.weight(b) {
		return b
	}
	return a
}

func (q *query) load(i int) uint64 {
	if h := q.service.table.hosts[i]; h != nil {
		return uint64(h.inFlight)
	}
	return 0
}

func (q *query) weight(i int) uint64 { return uint64(q.service.table.eps[i].Workload.Capacity) }

// scanBelow is the size of a pool that is read whole; larger ones are sampled first.
const (
	scanBelow = 12
	samples   = 4
)

// draw returns an endpoint other than not, by weight, or -1.
func (q *query) draw(p *pool, not int) int {
	if p == nil {
		return -1
	}
	if p.len() >= scanBelow {
		for range samples {
			if i := p.sample(q.rand); i != not && q.usable(i) {
				return i
			}
		}
	}
	return q.scan(p, not)
}

func (q *query) scan(p *pool, not int) int {
	var total uint64
	for k := range p.len() {
		if i := p.at(k); i != not && q.usable(i) {
			total += q.weight(i)
		}
	}
	if total == 0 {
		return -1
	}
	left := below(q.rand(), total)
	for k := range p.len() {
		i := p.at(k)
		if i == not || !q.usable(i) {
			continue
		}
		w := q.weight(i)
		if left < w {
			return i
		}
		left -= w
	}
	return -1
}

func (q *query) usable(i int) bool {
	t := q.service.table
	if len(q.tried) > 0 && wasTried(q.tried, t.eps[i].Workload) {
		return false
	}
	h := t.hosts[i]
	if h == nil || q.panic {
		return true
	}
	q.events = append(q.events, h.restore(q.now)...)
	return !h.ejectedFor(q.source, q.now)
}
