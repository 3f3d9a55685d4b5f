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
type Set struct {
	shard [shards]struct {
		mu   sync.Mutex
		live map[key]engine.Action
	}
}

func (l *Set) lock(remote netip.AddrPort) (*map[key]engine.Action, func()) {
	a := remote.Addr().As16()
	s := &l.shard[(uint16(a[15])^uint16(a[14])^remote.Port())%shards]
	s.mu.Lock()
	if s.live == nil {
		s.live = map[key]engine.Action{}
	}
	return &s.live, s.mu.Unlock
}

// Add notes a leg before it is connected; false says that there is one like it.
func (l *Set) Add(t Tuple, a engine.Action) bool {
	live, unlock := l.lock(t.Remote)
	defer unlock()
	if _, ok := (*live)[t.key()]; ok {
		return false
	}
	(*live)[t.key()] = a
	return true
}

// AddAfter notes a leg whose local end is known only after connect. No connection to remote is judged
// meanwhile.
func (l *Set) AddAfter(remote netip.AddrPort, a engine.Action, connect func() (netip.AddrPort, error)) (Tuple, error) {
	live, unlock := l.lock(remote)
	defer unlock()
	local, err := connect()
	t := Tuple{local, remote}
	if err == nil {
		(*live)[t.key()] = a
	}
	return t, err
}

// Remove forgets a leg.
func (l *Set) Remove(t Tuple) {
	live, unlock := l.lock(t.Remote)
	defer unlock()
	delete(*live, t.key())
}

// Own reports whether a captured connection is a leg of ours. A plain leg from a pod may well arrive at
// another pod of the node as inbound; as outbound it is captured for the second time.
func (l *Set) Own(kind engine.Kind, source, dest netip.AddrPort) bool {
	live, unlock := l.lock(dest)
	defer unlock()
	a, ok := (*live)[Tuple{source, dest}.key()]
	return ok && (a == engine.Deliver || kind == engine.Outbound)
}
