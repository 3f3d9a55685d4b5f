package decide

import "sync"

// memo keeps what is made anew for each connection and is always the same: headers and names. It
// forgets everything when it is full, so it holds little of what has gone from the mesh.
type memo[K comparable, V any] struct {
	mu     sync.RWMutex
	values map[K]V // under mu
}

const memoMax = 4096

func (m *memo[K, V]) get(key K, make func(K) V) V {
	m.mu.RLock()
	v, ok := m.values[key]
	m.mu.RUnlock()
	if ok {
		return v
	}
	v = make(key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil || len(m.values) >= memoMax {
		m.values = map[K]V{}
	}
	m.values[key] = v
	return v
}
