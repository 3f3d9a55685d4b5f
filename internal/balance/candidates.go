package balance

import "github.com/ambitmesh/ambit/internal/mesh"

// Candidates returns the endpoints among which Pick would draw now, for one who draws blindly: nil if there
// is none, if there are more than most, if they are not of one capacity, or if one of them is ejected.
func (b *Balancer) Candidates(svc *mesh.Service, eps []mesh.Endpoint, want Want, most int) []mesh.Endpoint {
	if len(eps) == 0 {
		return nil
	}
	now := b.opts.Now()
	s := b.service(svc.Key, now)
	s.mu.Lock()
	q := query{service: s, source: want.Source, now: now, rand: b.opts.Rand}
	s.use(svc, eps, now)
	out := q.candidates(want, most)
	s.mu.Unlock()
	b.tell(q.events)
	return out
}

func (q *query) candidates(want Want, most int) []mesh.Endpoint {
	for _, tier := range q.service.table.tiersFrom(want.From) {
		for _, p := range [...]*pool{tier.family(want.V6), tier.any} {
			if p != nil && p.len() > 0 {
				return q.equals(p, most)
			}
		}
	}
	return nil
}

func (q *query) equals(p *pool, most int) []mesh.Endpoint {
	if p.len() > most {
		return nil
	}
	out := make([]mesh.Endpoint, 0, p.len())
	for k := range p.len() {
		i := p.at(k)
		if !q.usable(i) || q.weight(i) != q.weight(p.at(0)) {
			return nil
		}
		out = append(out, q.service.table.eps[i])
	}
	return out
}
