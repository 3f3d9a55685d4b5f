package certs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Config is what a Manager needs.
type Config struct {
	Provider Provider
	Node     *Node  // whose roots are everyone's, and without which nothing is asked for; nil: none is needed
	OnRoots  func() // the trusted roots have changed: live peers must be looked at again
	// Expiry is told when the certificate of a SPIFFE URI ends; the zero time: it is not kept any more.
	Expiry     func(uri string, notAfter time.Time)
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// maxFlying is how many requests may be under way, as Istio's proxy has it.
const maxFlying = 8

// Manager keeps a certificate for each identity that is held. It implements engine.Certs. Its methods
// may be called from any goroutine.
type Manager struct {
	cfg     Config
	metrics *metrics
	wake    chan struct{}
	never   chan struct{} // for identities without a pod
	vault   *vault

	mu      sync.Mutex
	entries map[identity.ID]*entry
	before  map[identity.ID]issued // of the proxy before, until an identity is held
	flying  int
	asked   uint64 // counts requests, so that a late answer does not take roots back
	roots   roots
	life    time.Duration // of the last certificate received
}

// entry is one identity. Guarded by Manager.mu.
type entry struct {
	id     identity.ID
	refs   int
	issued               // its Cert is nil until there is one
	ready  chan struct{} // closed at the next certificate
	flying bool
	wanted bool      // a connection waits for it
	next   time.Time // when to ask
	fails  int
	err    error // of the last request
}

// New returns a Manager that asks for nothing until Run. Close gives up its memory.
func New(cfg Config) (*Manager, error) {
	m := &Manager{
		cfg: cfg, wake: make(chan struct{}, 1), never: make(chan struct{}),
		entries: map[identity.ID]*entry{}, before: map[identity.ID]issued{},
	}
	if m.cfg.Expiry == nil {
		m.cfg.Expiry = func(string, time.Time) {}
	}
	var err error
	if m.vault, err = newVault(); err != nil {
		return nil, err
	}
	if m.metrics, err = newMetrics(cfg.Registerer, m); err != nil {
		m.vault.close()
		return nil, err
	}
	if cfg.Node != nil {
		cfg.Node.changed = m.nodeChanged
	}
	return m, nil
}

// Get returns the certificate of id, or nil and a channel that is closed when there is one. It does
// not block. An identity that is not held has none.
func (m *Manager) Get(id identity.ID) (*identity.Cert, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[id]
	if e == nil {
		return nil, m.never
	}
	if e.Cert != nil && e.Valid(m.cfg.Now()) {
		return e.Cert, nil
	}
	if !e.wanted {
		e.wanted = true
		m.poke()
	}
	return nil, e.ready
}

// Hold keeps a certificate for id from now on; each Hold needs a Release.
func (m *Manager) Hold(id identity.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[id]
	if e == nil {
		e = &entry{id: id, ready: make(chan struct{}), next: m.cfg.Now()}
		m.entries[id] = e
		if old, ok := m.before[id]; ok && old.Valid(m.cfg.Now()) {
			m.give(e, old)
		}
		delete(m.before, id)
		m.vault.touch()
		m.poke()
	}
	e.refs++
}

// Release is the end of a Hold. The last one forgets the certificate and its key.
func (m *Manager) Release(id identity.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[id]
	if e == nil {
		return
	}
	if e.refs--; e.refs > 0 {
		return
	}
	delete(m.entries, id)
	m.cfg.Expiry(id.String(), time.Time{})
	m.vault.touch()
}

// Kick asks at once for all that has failed, for example when the controller is back.
func (m *Manager) Kick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e.fails > 0 {
			e.next, e.fails = m.cfg.Now(), 0
		}
	}
	m.poke()
}

func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run asks and renews until ctx ends, then waits for what is under way.
func (m *Manager) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		m.vault.run(ctx, m.export, func(err error) { m.cfg.Log.Error("state for a successor not kept", "error", err) })
	})
	select {
	case <-m.cfg.Node.Ready():
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		start, wait := m.due()
		for _, e := range start {
			all.Go(func() { m.fetch(ctx, e) })
		}
		t := time.NewTimer(wait)
		select {
		case <-m.wake:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}
