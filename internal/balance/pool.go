package balance

import (
	"math/bits"

	"github.com/ambitmesh/ambit/internal/mesh"
)

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
