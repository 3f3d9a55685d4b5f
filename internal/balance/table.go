package balance

import "github.com/ambitmesh/ambit/internal/mesh"

// table is what a pick needs to know of one list of endpoints, made once per list.
type table struct {
	eps    []mesh.Endpoint
	hosts  []*host // nil: never picked
	local  bool    // only endpoints of the client's node count
	prefer mesh.Near
	from   Place // which the tiers were made for
	ready  bool
	tiers  []tier // the nearest first
}

// tier is the endpoints of one distance, of both families and of each.
type tier struct {
	any *pool    // nil: there is none
	ip  [2]*pool // those with an IPv4, an IPv6 address; any if all have one
}

func (t *tier) family(v6 bool) *pool {
	if v6 {
		return t.ip[1]
	}
	return t.ip[0]
}

func newTable(eps []mesh.Endpoint, svc *mesh.Service) *table {
	return &table{eps: eps, hosts: make([]*host, len(eps)), local: svc.LocalOnly, prefer: svc.Prefer}
}

// of reports whether the table is of this very list.
func (t *table) of(eps []mesh.Endpoint, svc *mesh.Service) bool {
	return t != nil && t.local == svc.LocalOnly && t.prefer == svc.Prefer && len(t.eps) == len(eps) && &t.eps[0] == &eps[0]
}

// tiersFrom returns the endpoints by how near they are to a place.
func (t *table) tiersFrom(from Place) []tier {
	if !t.ready || (t.local || t.prefer != mesh.Anywhere) && t.from != from {
		t.fill(from)
	}
	return t.tiers
}

func (t *table) fill(from Place) {
	t.ready, t.from, t.tiers = true, from, nil
	var by [mesh.SameNode + 1][]int32
	for i := range t.eps {
		w := t.eps[i].Workload
		if w.Capacity == 0 || t.local && (w.Node == "" || w.Node != from.Node) {
			continue
		}
		near := min(from.near(w), t.prefer)
		by[near] = append(by[near], int32(i))
	}
	for near := int(t.prefer); near >= 0; near-- {
		if len(by[near]) > 0 {
			t.tiers = append(t.tiers, t.tier(by[near]))
		}
	}
}

func (t *table) tier(members []int32) tier {
	var v4, v6 []int32
	for _, i := range members {
		has4, has6 := families(t.eps[i].Workload)
		if has4 {
			v4 = append(v4, i)
		}
		if has6 {
			v6 = append(v6, i)
		}
	}
	out := tier{any: newPool(t.eps, members)}
	for f, list := range [...][]int32{v4, v6} {
		out.ip[f] = out.any
		if len(list) < len(members) {
			out.ip[f] = newPool(t.eps, list)
		}
	}
	return out
}

func families(w *mesh.Workload) (v4, v6 bool) {
	for _, a := range w.Addrs {
		v4, v6 = v4 || a.Is4(), v6 || a.Is6()
	}
	return v4, v6
}
