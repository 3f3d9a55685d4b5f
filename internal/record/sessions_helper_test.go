package record

import "crypto/tls"

// sessions lets connections resume earlier ones, in both roles.
type sessions struct {
	cache tls.ClientSessionCache
	key   [32]byte
}

func newSessions(key byte) *sessions {
	return &sessions{cache: tls.NewLRUClientSessionCache(4), key: [32]byte{key}}
}

// client sets cfg, which is one connection's own, to resume.
func (s *sessions) client(cfg *tls.Config) {
	cfg.SessionTicketsDisabled = false
	cfg.ClientSessionCache = s.cache
}

// server sets cfg, which is one connection's own, to give and take tickets.
func (s *sessions) server(cfg *tls.Config) {
	cfg.SessionTicketsDisabled = false
	cfg.SetSessionTicketKeys([][32]byte{s.key})
}
