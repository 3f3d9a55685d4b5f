package record

import (
	"crypto/rand"
	"crypto/tls"
)

// Sessions lets the connections of one workload resume its earlier ones, in both
// roles. It is a set of one certificate's sessions: make a new one when the
// certificate, the roots or the peers that are accepted change, and the old
// sessions are gone with it.
//
// It must not be shared between identities. A resumed peer proves that it made
// the session before, not who it is now: with one ticket key for two identities,
// either could resume as the other. It is safe for concurrent use.
type Sessions struct {
	cache tls.ClientSessionCache
	key   [32]byte
}

// NewSessions makes an empty set, for at most peers servers; the least recently
// used is dropped.
func NewSessions(peers int) *Sessions {
	s := &Sessions{cache: tls.NewLRUClientSessionCache(peers)}
	_, _ = rand.Read(s.key[:]) // never fails
	return s
}

// Client sets cfg, which is one connection's own, to resume. Without a ServerName
// the sessions are found by the peer's address. Reader.Resume brings the tickets
// back.
func (s *Sessions) Client(cfg *tls.Config) {
	cfg.SessionTicketsDisabled = false
	cfg.ClientSessionCache = s.cache
}

// Server sets cfg, which is one connection's own, to give and take tickets.
func (s *Sessions) Server(cfg *tls.Config) {
	cfg.SessionTicketsDisabled = false
	cfg.SetSessionTicketKeys([][32]byte{s.key})
}
