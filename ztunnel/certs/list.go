package certs

import (
	"cmp"
	"slices"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Status is one identity for the admin pages.
type Status struct {
	Identity string
	Cert     *identity.Cert // nil: none yet
	Expired  bool
	Fails    int
	Err      error // of the last request, if it failed
}

// List returns the node's certificate first, if it needs one, then the others by identity.
func (m *Manager) List() []Status {
	n, now := m.cfg.Node, m.cfg.Now()
	m.mu.Lock()
	var out []Status
	for id, e := range m.entries {
		out = append(out, Status{Identity: id.String(), Cert: e.Cert, Fails: e.fails, Err: e.err})
	}
	m.mu.Unlock()
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Identity, b.Identity) })
	if n != nil {
		out = append([]Status{{Identity: n.URI, Cert: n.Cert(), Err: n.Err()}}, out...)
	}
	for i := range out {
		out[i].Expired = out[i].Cert != nil && !out[i].Cert.Valid(now)
	}
	return out
}
