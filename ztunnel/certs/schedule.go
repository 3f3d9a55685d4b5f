package certs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// lookEvery bounds the sleep, for clocks that jump.
const lookEvery = 30 * time.Second

// due takes those that are to be asked for now, as many as may fly, and says how long to sleep.
func (m *Manager) due() (start []*entry, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Now()
	var list []*entry
	wait = lookEvery
	for _, e := range m.entries {
		switch in := e.next.Sub(now); {
		case e.flying:
		case in <= 0:
			list = append(list, e)
		default:
			wait = min(wait, in)
		}
	}
	slices.SortFunc(list, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.priority(now), b.priority(now)), a.next.Compare(b.next))
	})
	for _, e := range list[:min(len(list), maxFlying-m.flying)] {
		e.flying = true
		m.flying++
		start = append(start, e)
	}
	return start, wait
}

// priority: what connections wait for, then what they will, then renewals.
func (e *entry) priority(now time.Time) int {
	switch {
	case e.Cert != nil && e.Valid(now):
		return 2
	case e.wanted:
		return 0
	}
	return 1
}

// fetch asks for one certificate.
func (m *Manager) fetch(ctx context.Context, e *entry) {
	m.mu.Lock()
	m.asked++
	turn, id := m.asked, e.id
	m.mu.Unlock()
	uri := id.String()
	c, err := request(ctx, uri, m.cfg.Now, func(ctx context.Context, csr []byte) ([]string, error) {
		return m.cfg.Provider.Sign(ctx, uri, csr)
	})
	m.metrics.asked(err)
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrNotJoined) {
		m.cfg.Log.Warn("no certificate", "identity", uri, "error", err)
	}
	m.settle(e, c, err, turn)
}

// settle takes an answer in.
func (m *Manager) settle(e *entry, c issued, err error, turn uint64) {
	m.mu.Lock()
	m.flying--
	e.flying = false
	m.poke()
	if err != nil {
		e.fails++
		e.err = err
		e.next = m.cfg.Now().Add(retryAfter(e.fails, err, cmp.Or(e.life, m.life)))
		m.mu.Unlock()
		return
	}
	m.life = c.life
	changed := m.adopt(c.RootCerts, turn)
	if m.entries[e.id] == e { // else its last pod has left meanwhile
		m.give(e, c)
	}
	m.mu.Unlock()
	if changed {
		m.rootsChanged()
	}
}

// give hands a certificate to who waits for it. Called with m.mu held.
func (m *Manager) give(e *entry, c issued) {
	e.issued, e.next, e.fails, e.err, e.wanted = m.trusting(c), c.renewAt, 0, nil, false
	close(e.ready)
	e.ready = make(chan struct{})
	m.cfg.Expiry(e.id.String(), c.Leaf.NotAfter)
	m.vault.touch()
}
