package balance

import (
	"math/bits"

	"github.com/ambitmesh/ambit/internal/mesh"
)

// table is what a pick needs to know of one list of endpoints, made once per list.
type table struct {
	eps   []mesh.Endpoint
	hosts []*host // nil: never picked
	local bool    // only endpoints of one node count
	node  string  // which the pools were made for
	ready bool
	any   *pool
	ip    [2]*pool // those with an IPv4, an IPv6 address; any if all have one
}

func newTable(eps []mesh.Endpoint, local bool) *table {
	return &table{eps: eps, hosts: make([]*host, len(eps)), local: local}
}

// of reports whether the table is of this very list.
func (t *table) of(eps []mesh.Endpoint, local bool) bool {
	return t != nil && t.local == local && len(t.eps) == len(eps) && &t.eps[0] == &eps[0]
}

// pools returns the endpoints of the wanted family and all, each nil if there is none.
func (t *table) pools(want Want) (wanted, all *pool) {
	if !t.ready || t.local && t.node != want.Node {
		t.fill(want.Node)
	}
	if want.V6 {
		return t.ip[1], t.any
	}
	return t.ip[0], t.any
}

func (t *table) fill(node string) {
	t.ready, t.node = true, node
	var all, v4, v6 []int32
	for i := range t.eps {
		w := t.eps[i].Workload
		if w.Capacity == 0 || t.local && (w.Node == "" || w.Node != node) {
			continue
		}
		all = append(all, int32(i))
		has4, has6 := families(w)
		if has4 {
			v4 = append(v4, int32(i))
		}
		if has6 {
			v6 = append(v6, int32(i))
		}
	}
	t.any = newPool(t.eps, all)
	for f, list := range [...][]int32{v4, v6} {
		t.ip[f] = t.any
		if len(list) < len(all) {
			t.ip[f] = newPool(t.eps, list)
		}
	}
}

func families(w *mesh.Workload) (v4, v6 bool) {
	for _, a := range w.Addrs {
		v4, v6 = v4 || a.Is4(), v6 || a.Is6()
	}
	return v4, v6
}

// pool is a set of endpoints to draw from by weight in O(1) (Vose's alias method).
type pool struct {
	members []int32
	accept  []uint64 // nil: all weights are equal
	alias   []int32  // positions in members
	total   uint64
}

func newPool(eps []mesh.Endpoint, members []int32) *pool {
	if len(members) == 0 {
		return nil
	}
	p := &pool{members: members}
	equal := true
	for _, i := range members {
		w := eps[i].Workload.Capacity
		p.total += uint64(w)
		equal = equal && w == eps[members[0]].Workload.Capacity
	}
	if !equal {
		p.weigh(eps)
	}
	return p
}

// weigh fills the alias table: column k keeps accept[k] of total for itself, the rest is alias[k]'s.
func (p *pool) weigh(eps []mesh.Endpoint) {
	n := len(p.members)
	p.accept, p.alias = make([]uint64, n), make([]int32, n)
	var small, large []int32
	for k, i := range p.members {
		p.accept[k], p.alias[k] = uint64(eps[i].Workload.Capacity)*uint64(n), int32(k)
		if p.accept[k] < p.total {
			small = append(small, int32(k))
		} else {
			large = append(large, int32(k))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		p.alias[s] = l
		p.accept[l] -= p.total - p.accept[s]
		if p.accept[l] < p.total {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
}

func (p *pool) len() int { return len(p.members) }

func (p *pool) at(k int) int { return int(p.members[k]) }

func (p *pool) sample(rand func() uint64) int {
	k := below(rand(), uint64(len(p.members)))
	if p.accept != nil && below(rand(), p.total) >= p.accept[k] {
		k = uint64(p.alias[k])
	}
	return int(p.members[k])
}

// below maps a random word to [0, n).
func below(r, n uint64) uint64 {
	hi, _ := bits.Mul64(r, n)
	return hi
}
