package mesh

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"net/netip"
	"slices"
)

// trie is a persistent hash map: a copy shares all nodes, and a change copies one path of some six
// nodes of at most 32 slots, so that publishing a change costs the change and not the mesh. Nodes that
// the running batch made itself are changed in place.
type trie[K comparable, V any] struct {
	root *node[K, V]
	size int
	hash func(K) uint64
}

type node[K comparable, V any] struct {
	owner *batch // the batch that made the node and may still change it
	bits  uint32 // which of the 32 branches exist, in order
	slots []slot[K, V]
}

// slot is either a branch (sub) or an entry.
type slot[K comparable, V any] struct {
	sub *node[K, V]
	key K
	val V
}

// batch marks the nodes of one Apply.
type batch struct{ _ byte }

const (
	branchBits = 5
	hashBits   = 64 // from here on, keys of equal hash are a plain list
)

func newTrie[K comparable, V any](hash func(K) uint64) trie[K, V] { return trie[K, V]{hash: hash} }

func hashString(seed maphash.Seed) func(string) uint64 {
	return func(s string) uint64 { return maphash.String(seed, s) }
}

func hashAddr(seed maphash.Seed) func(netip.Addr) uint64 {
	return func(a netip.Addr) uint64 {
		b := a.As16()
		return maphash.Bytes(seed, b[:])
	}
}

func hashPrefix(seed maphash.Seed) func(netip.Prefix) uint64 {
	return func(p netip.Prefix) uint64 {
		b := p.Addr().As16()
		return maphash.Bytes(seed, b[:]) + uint64(p.Bits())
	}
}

func (t *trie[K, V]) get(k K) (v V, ok bool) {
	if t.root == nil {
		return v, false
	}
	h := t.hash(k)
	n := t.root
	for shift := uint(0); shift < hashBits; shift += branchBits {
		bit := uint32(1) << (h >> shift & 31)
		if n.bits&bit == 0 {
			return v, false
		}
		s := &n.slots[bits.OnesCount32(n.bits&(bit-1))]
		if s.sub == nil && s.key != k {
			return v, false
		}
		if s.sub == nil {
			return s.val, true
		}
		n = s.sub
	}
	if i := n.find(k); i >= 0 {
		return n.slots[i].val, true
	}
	return v, false
}

// find is for lists of keys of equal hash.
func (n *node[K, V]) find(k K) int {
	return slices.IndexFunc(n.slots, func(s slot[K, V]) bool { return s.key == k })
}

func (t *trie[K, V]) set(b *batch, k K, v V) {
	if t.root == nil {
		t.root = &node[K, V]{owner: b}
	}
	root, added := t.put(b, t.root, t.hash(k), 0, k, v)
	t.root = root
	if added {
		t.size++
	}
}

// own returns n, or a copy that b may change.
func (n *node[K, V]) own(b *batch) *node[K, V] {
	if n.owner == b {
		return n
	}
	return &node[K, V]{owner: b, bits: n.bits, slots: slices.Clone(n.slots)}
}

func (t *trie[K, V]) put(b *batch, n *node[K, V], h uint64, shift uint, k K, v V) (*node[K, V], bool) {
	n = n.own(b)
	if shift >= hashBits {
		return n, n.putInList(k, v)
	}
	bit := uint32(1) << (h >> shift & 31)
	i := bits.OnesCount32(n.bits & (bit - 1))
	if n.bits&bit == 0 {
		n.bits |= bit
		n.slots = slices.Insert(n.slots, i, slot[K, V]{key: k, val: v})
		return n, true
	}
	s := &n.slots[i]
	if s.sub == nil && s.key == k {
		s.val = v
		return n, false
	}
	if s.sub == nil { // two keys share the path so far: push the old one down
		old := *s
		sub, _ := t.put(b, &node[K, V]{owner: b}, t.hash(old.key), shift+branchBits, old.key, old.val)
		*s = slot[K, V]{sub: sub}
	}
	sub, added := t.put(b, s.sub, h, shift+branchBits, k, v)
	s.sub = sub
	return n, added
}

func (n *node[K, V]) putInList(k K, v V) (added bool) {
	if i := n.find(k); i >= 0 {
		n.slots[i].val = v
		return false
	}
	n.slots = append(n.slots, slot[K, V]{key: k, val: v})
	return true
}

func (t *trie[K, V]) remove(b *batch, k K) {
	if _, ok := t.get(k); !ok {
		return
	}
	t.size--
	t.root = t.drop(b, t.root, t.hash(k), 0, k)
}

// drop removes a key that is there and returns nil if nothing is left.
func (t *trie[K, V]) drop(b *batch, n *node[K, V], h uint64, shift uint, k K) *node[K, V] {
	n = n.own(b)
	if shift >= hashBits {
		i := n.find(k)
		n.slots = slices.Delete(n.slots, i, i+1)
	} else {
		t.dropBranch(b, n, h, shift, k)
	}
	if len(n.slots) == 0 {
		return nil
	}
	return n
}

func (t *trie[K, V]) dropBranch(b *batch, n *node[K, V], h uint64, shift uint, k K) {
	bit := uint32(1) << (h >> shift & 31)
	i := bits.OnesCount32(n.bits & (bit - 1))
	s := &n.slots[i]
	if s.sub != nil {
		if s.sub = t.drop(b, s.sub, h, shift+branchBits, k); s.sub != nil {
			return
		}
	}
	n.bits &^= bit
	n.slots = slices.Delete(n.slots, i, i+1)
}

// values iterates in no particular order.
func (t *trie[K, V]) values() iter.Seq[V] {
	return func(yield func(V) bool) { t.root.each(yield) }
}

func (n *node[K, V]) each(yield func(V) bool) bool {
	if n == nil {
		return true
	}
	for i := range n.slots {
		if s := &n.slots[i]; s.sub != nil && !s.sub.each(yield) || s.sub == nil && !yield(s.val) {
			return false
		}
	}
	return true
}
