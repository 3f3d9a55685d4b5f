// Package legs knows the sockets that an engine has connected, and chooses the ports of those with
// another's address.
package legs

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Tuple is the two ends of a leg, as its maker sees them.
type Tuple struct{ Local, Remote netip.AddrPort }

// key is a Tuple in half of the memory, and without pointers: there may be very many.
type key struct{ local, remote [18]byte }

func (t Tuple) key() key { return key{pack(t.Local), pack(t.Remote)} }

func pack(a netip.AddrPort) (b [18]byte) {
	ip := a.Addr().As16()
	copy(b[:], ip[:])
	binary.BigEndian.PutUint16(b[16:], a.Port())
	return b
}

const shards = 64

// Set holds the sockets that the engine has connected, so that it knows them if they come back: a node
// whose redirection is broken must not make a connection feed on itself.
type Set struct{ shards [shards]shard }

type shard struct {
	mu   sync.Mutex
	live map[key]engine.Action
}

// lock returns the shard of a leg, locked.
func (l *Set) lock(remote netip.AddrPort) *shard {
	a := remote.Addr().As16()
	s := &l.shards[(uint16(a[15])^uint16(a[14])^remote.Port())%shards]
	s.mu.Lock()
	if s.live == nil {
		s.live = map[key]engine.Action{}
	}
	return s
}

// Add notes a leg before it is connected; false says that there is one like it.
func (l *Set) Add(t Tuple, a engine.Action) bool {
	s := l.lock(t.Remote)
	defer s.mu.Unlock()
	if _, ok := s.live[t.key()]; ok {
		return false
	}
	s.live[t.key()] = a
	return true
}

// AddAfter notes a leg whose local end is known only after connect. No connection to remote is judged
// meanwhile.
func (l *Set) AddAfter(remote netip.AddrPort, a engine.Action, connect func() (netip.AddrPort, error)) (Tuple, error) {
	s := l.lock(remote)
	defer s.mu.Unlock()
	local, err := connect()
	t := Tuple{local, remote}
	if err == nil {
		s.live[t.key()] = a
	}
	return t, err
}

// Remove forgets a leg.
func (l *Set) Remove(t Tuple) {
	s := l.lock(t.Remote)
	defer s.mu.Unlock()
	delete(s.live, t.key())
}

// Own reports whether a captured connection is a leg of ours. A plain leg from a pod may well arrive at
// another pod of the node as inbound; as outbound it is captured for the second time.
func (l *Set) Own(kind engine.Kind, source, dest netip.AddrPort) bool {
	s := l.lock(dest)
	defer s.mu.Unlock()
	a, ok := s.live[Tuple{source, dest}.key()]
	return ok && (a == engine.Deliver || kind == engine.Outbound)
}
