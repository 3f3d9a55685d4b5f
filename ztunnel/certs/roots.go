package certs

import (
	"bytes"
	"crypto/x509"
	"slices"

	"github.com/ambitmesh/ambit/internal/identity"
)

// roots is the newest bundle that an answer brought. All certificates of the node share it, so that a
// rotation reaches each with the first answer and not with its own renewal.
type roots struct {
	turn  uint64 // of the request that it answers
	certs []*x509.Certificate
	pool  *x509.CertPool
}

// adopt makes certs the bundle of all, unless a later request has been answered already, and reports
// whether that changed anything. Called with m.mu held.
func (m *Manager) adopt(certs []*x509.Certificate, turn uint64) bool {
	if turn < m.roots.turn {
		return false
	}
	m.roots.turn = turn
	if sameCerts(certs, m.roots.certs) {
		return false
	}
	first := m.roots.pool == nil
	m.roots.certs, m.roots.pool = certs, identity.Pool(certs)
	for _, e := range m.entries {
		if e.Cert != nil {
			e.issued = m.trusting(e.issued)
		}
	}
	m.cfg.Node.trust(m.roots.certs, m.roots.pool)
	return !first
}

// trusting returns c with the bundle of all. Called with m.mu held.
func (m *Manager) trusting(c issued) issued {
	if m.roots.pool == nil {
		return c
	}
	own := *c.Cert
	own.Roots, own.RootCerts = m.roots.pool, m.roots.certs
	c.Cert = &own
	return c
}

func (m *Manager) rootsChanged() {
	m.cfg.Log.Info("the mesh's roots have changed")
	if m.cfg.OnRoots != nil {
		m.cfg.OnRoots()
	}
}

// nodeChanged takes the bundle of the node's new certificate.
func (m *Manager) nodeChanged(c *identity.Cert) {
	m.mu.Lock()
	m.asked++
	changed := m.adopt(c.RootCerts, m.asked)
	m.cfg.Expiry(m.cfg.Node.URI, c.Leaf.NotAfter)
	m.vault.touch()
	m.mu.Unlock()
	if changed {
		m.rootsChanged()
	}
}

func sameCerts(a, b []*x509.Certificate) bool {
	order := func(x, y *x509.Certificate) int { return bytes.Compare(x.Raw, y.Raw) }
	a, b = slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order)
	return slices.EqualFunc(a, b, (*x509.Certificate).Equal)
}
