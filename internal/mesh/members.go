package mesh

import "slices"

// members are the endpoints of one service key.
type members struct {
	owner      *batch
	all, ready []Endpoint
}

// own returns m, or a copy that b may change.
func (m *members) own(b *batch) *members {
	switch {
	case m == nil:
		return &members{owner: b}
	case m.owner == b:
		return m
	}
	return &members{owner: b, all: slices.Clone(m.all), ready: slices.Clone(m.ready)}
}

// replace puts next in the place of old; either may be nil.
func (m *members) replace(old, next *Workload, ports []Port) {
	m.all = replaced(m.all, old, next, ports)
	if next != nil && !next.Healthy {
		next = nil
	}
	m.ready = replaced(m.ready, old, next, ports)
}

func replaced(list []Endpoint, old, next *Workload, ports []Port) []Endpoint {
	i := -1
	if old != nil {
		i = slices.IndexFunc(list, func(e Endpoint) bool { return e.Workload == old })
	}
	switch e := (Endpoint{Workload: next, Ports: ports}); {
	case i < 0 && next == nil:
		return list
	case i < 0:
		return append(list, e)
	case next == nil:
		return slices.Delete(list, i, i+1)
	default:
		list[i] = e
		return list
	}
}
