package translate

import (
	"cmp"
	"slices"
)

// key names an object of a known kind.
type key struct{ namespace, name string }

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

func (k key) String() string { return k.namespace + "/" + k.name }

type set[V comparable] map[V]struct{}

func (s set[V]) add(v ...V) {
	for _, x := range v {
		s[x] = struct{}{}
	}
}

func (s set[V]) has(v V) bool {
	_, ok := s[v]
	return ok
}

// sortedKeys gives the order that makes results repeatable.
func sortedKeys(s set[key]) []key {
	out := make([]key, 0, len(s))
	for k := range s {
		out = append(out, k)
	}
	slices.SortFunc(out, compareKeys)
	return out
}

// multimap files values under keys; a key without values is gone.
type multimap[K, V comparable] map[K]set[V]

func (m multimap[K, V]) add(k K, v V) {
	s, ok := m[k]
	if !ok {
		s = set[V]{}
		m[k] = s
	}
	s.add(v)
}

func (m multimap[K, V]) remove(k K, v V) {
	delete(m[k], v)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}
