package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// state is what a successor needs to serve at once: JSON in the vault.
type state struct {
	Node  *savedCert  `json:"node,omitempty"`
	Certs []savedCert `json:"certs,omitempty"`
}

type savedCert struct {
	URI     string    `json:"uri"`
	Chain   []string  `json:"chain"` // PEM elements as a provider gives them
	Key     []byte    `json:"key"`   // PKCS #8
	RenewAt time.Time `json:"renewAt"`
}

// ErrState says that a predecessor's state cannot be read.
var ErrState = errors.New("not the state of a proxy")

func save(uri string, c issued) (savedCert, error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	if err != nil {
		return savedCert{}, fmt.Errorf("encode key: %w", err)
	}
	s := savedCert{URI: uri, Key: key, RenewAt: c.renewAt}
	for _, der := range c.TLS.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return savedCert{}, fmt.Errorf("encode chain: %w", err)
		}
		s.Chain = append(s.Chain, identity.EncodeCerts([]*x509.Certificate{cert}))
	}
	s.Chain = append(s.Chain, identity.EncodeCerts(c.RootCerts))
	return s, nil
}

// restore checks a saved certificate like a fresh one.
func (s savedCert) restore(now time.Time) (issued, error) {
	k, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil {
		return issued{}, fmt.Errorf("%w: key: %w", ErrState, err)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return issued{}, fmt.Errorf("%w: key is not P-256", ErrState)
	}
	c, err := accept(s.Chain, key, s.URI, now)
	if err != nil {
		return issued{}, err
	}
	if s.RenewAt.Before(c.renewAt) {
		c.renewAt = s.RenewAt
	}
	return c, nil
}

// parseState reads a predecessor's state. Certificates that are no longer good are left out.
func parseState(b []byte, nodeURI string, now time.Time) (node *issued, pods map[identity.ID]issued, err error) {
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if s.Node != nil && nodeURI != "" && s.Node.URI == nodeURI {
		if c, err := s.Node.restore(now); err == nil {
			node = &c
		}
	}
	pods = map[identity.ID]issued{}
	for _, x := range s.Certs {
		id, err := identity.Parse(x.URI)
		if err != nil {
			continue
		}
		if c, err := x.restore(now); err == nil {
			pods[id] = c
		}
	}
	return node, pods, nil
}

// export is the state as it is now.
func (m *Manager) export() []byte {
	var s state
	if n := m.cfg.Node; n != nil {
		n.mu.Lock()
		node := n.cert
		n.mu.Unlock()
		if node.Cert != nil {
			if c, err := save(n.URI, node); err == nil {
				s.Node = &c
			}
		}
	}
	m.mu.Lock()
	held := map[identity.ID]issued{}
	for id, e := range m.entries {
		if e.Cert != nil {
			held[id] = e.issued
		}
	}
	m.mu.Unlock()
	for id, c := range held {
		if x, err := save(id.String(), c); err == nil {
			s.Certs = append(s.Certs, x)
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		m.cfg.Log.Error("state for a successor", "error", err) // cannot be: strings, bytes and times
	}
	return b
}

// Inherit takes over the predecessor's state, or nil if there is none, and closes the file. It returns
// this proxy's own memory file, which is the manager's and changes in place as certificates do.
func (m *Manager) Inherit(old *os.File) (*os.File, error) {
	defer m.cfg.Node.Inherited()
	if old != nil {
		defer old.Close()
		if err := m.restore(old); err != nil {
			m.cfg.Log.Warn("nothing inherited from the proxy before", "error", err)
		}
	}
	m.vault.mu.Lock()
	defer m.vault.mu.Unlock()
	if m.vault.file == nil {
		return nil, os.ErrClosed
	}
	return m.vault.file, nil
}

func (m *Manager) restore(old *os.File) error {
	b, err := readVault(old)
	if err != nil {
		return err
	}
	node, pods, err := parseState(b, m.cfg.Node.uri(), m.cfg.Now())
	if err != nil {
		return err
	}
	m.mu.Lock()
	for id, c := range pods {
		switch e := m.entries[id]; {
		case e == nil:
			m.before[id] = c
		case e.Cert == nil:
			m.give(e, c)
		}
	}
	m.mu.Unlock()
	if node != nil {
		m.cfg.Node.inherit(*node)
	}
	m.cfg.Log.Info("inherited from the proxy before", "node", node != nil, "identities", len(pods))
	m.vault.touch()
	return nil
}

// inherit takes the predecessor's certificate, unless ours lives longer, and wakes the renewal.
func (n *Node) inherit(c issued) {
	if own := n.Cert(); own != nil && own.Leaf.NotAfter.After(c.Leaf.NotAfter) {
		return
	}
	n.set(c)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Forget drops what was inherited and nobody has asked for: the agent has named all pods.
func (m *Manager) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.before)
}

// Close gives up the memory file. A successor's copy of the descriptor stays.
func (m *Manager) Close() { m.vault.close() }
