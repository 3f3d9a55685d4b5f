package resume

import (
	"container/list"
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// set is all sessions of a pod, in both roles, that were made with one certificate and one set of roots.
// Its Pod guards it.
type set struct {
	own     *identity.Cert
	tickets tickets               // the server's
	byKey   map[key]*list.Element // of entries, the client's
	order   list.List             // the newest first
}

// key is who is called, as in the engines' pools of connections.
type key struct {
	peers string
	to    netip.AddrPort
}

type entry struct {
	key   key
	state *tls.ClientSessionState
	until time.Time
}

func newSet(own *identity.Cert) *set {
	return &set{own: own, byKey: map[key]*list.Element{}}
}

// is reports whether the set is of own's certificate and roots. A nil set is of none.
func (s *set) is(own *identity.Cert) bool {
	if s == nil {
		return false
	}
	return s.own == own || s.own.Leaf.Equal(own.Leaf) && s.own.Roots.Equal(own.Roots)
}

func (s *set) take(k key, now time.Time) *tls.ClientSessionState {
	el := s.byKey[k]
	if el == nil {
		return nil
	}
	e := s.remove(el)
	if !now.Before(e.until) {
		return nil
	}
	return e.state
}

// put keeps e instead of what there is of its key, and no more than most in all.
func (s *set) put(e entry, most int) {
	if el := s.byKey[e.key]; el != nil {
		s.remove(el)
	}
	for s.order.Len() >= most {
		s.remove(s.order.Back())
	}
	s.byKey[e.key] = s.order.PushFront(e)
}

func (s *set) expire(now time.Time) {
	for el := s.order.Back(); el != nil; {
		older := el
		el = el.Prev()
		if !now.Before(older.Value.(entry).until) {
			s.remove(older)
		}
	}
}

func (s *set) remove(el *list.Element) entry {
	e := s.order.Remove(el).(entry)
	delete(s.byKey, e.key)
	return e
}
