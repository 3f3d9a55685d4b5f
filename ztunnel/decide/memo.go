package decide

import (
	"sync"

	"github.com/ambitmesh/ambit/internal/mesh"
)

// memo keeps what is made anew for each connection and is always the same: headers and names. It
// forgets everything when it is full, and when the mesh has changed much (see Decider.changed): its keys
// hold what has gone from the mesh.
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

func (m *memo[K, V]) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values = nil
}

// manyChanges of workloads and services make the memos forget: a few kilobytes each are held until then.
const manyChanges = 256

// changed is told of each change of the mesh, one at a time.
func (d *Decider) changed(c mesh.Change) {
	if d.changes += len(c.Workloads) + len(c.Services); d.changes < manyChanges {
		return
	}
	d.changes = 0
	d.peers.forget()
	d.uris.forget()
	d.baggage.forget()
	d.response.forget()
}
