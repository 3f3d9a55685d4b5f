// Package legs knows the sockets that an engine has connected, and chooses the ports of those with
// another's address.
package legs

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Tuple is the two ends of a leg, as its maker sees them.
type Tuple struct{ Local, Remote netip.AddrPort }

// Key stands for a Tuple in one Set: there may be very many. It is a hash with a seed that nobody knows, so two
// legs have the same one only by a chance of one in 2^58. 0 is no leg's.
type Key uint64

const shards = 64

// Set holds the sockets that the engine has connected, so that it knows them if they come back: a node
// whose redirection is broken must not make a connection feed on itself.
type Set struct {
	once   sync.Once
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu    sync.Mutex
	into  map[Key]struct{} // to an application: engine.Deliver
	other map[Key]struct{}
}

// Key returns what Drop takes.
func (l *Set) Key(t Tuple) Key {
	l.once.Do(func() { l.seed = maphash.MakeSeed() })
	b := append(pack(t.Local), pack(t.Remote)...)
	hash := max(Key(maphash.Bytes(l.seed, b))/shards, 1)
	return hash*shards + Key(shardOf(t.Remote))
}

func pack(a netip.AddrPort) []byte {
	ip := a.Addr().As16()
	return binary.BigEndian.AppendUint16(append(make([]byte, 0, 36), ip[:]...), a.Port())
}

func shardOf(remote netip.AddrPort) uint16 {
	a := remote.Addr().As16()
	return (uint16(a[15]) ^ uint16(a[14]) ^ remote.Port()) % shards
}

// lock returns a shard, locked.
func (l *Set) lock(i uint16) *shard {
	s := &l.shards[i]
	s.mu.Lock()
	if s.into == nil {
		s.into, s.other = map[Key]struct{}{}, map[Key]struct{}{}
	}
	return s
}

func (s *shard) has(k Key) bool {
	_, into := s.into[k]
	_, other := s.other[k]
	return into || other
}

func (s *shard) put(k Key, a engine.Action) {
	if a == engine.Deliver {
		s.into[k] = struct{}{}
		return
	}
	s.other[k] = struct{}{}
}

// Add notes a leg before it is connected; false says that there is one like it.
func (l *Set) Add(t Tuple, a engine.Action) bool {
	k := l.Key(t)
	s := l.lock(shardOf(t.Remote))
	defer s.mu.Unlock()
	if s.has(k) {
		return false
	}
	s.put(k, a)
	return true
}

// AddAfter notes a leg whose local end is known only after connect. No connection to remote is judged
// meanwhile.
func (l *Set) AddAfter(remote netip.AddrPort, a engine.Action, connect func() (netip.AddrPort, error)) (Tuple, error) {
	s := l.lock(shardOf(remote))
	defer s.mu.Unlock()
	local, err := connect()
	t := Tuple{local, remote}
	if err == nil {
		s.put(l.Key(t), a)
	}
	return t, err
}

// Remove forgets a leg.
func (l *Set) Remove(t Tuple) { l.Drop(l.Key(t)) }

// Drop forgets a leg by its key.
func (l *Set) Drop(k Key) {
	s := l.lock(uint16(k % shards))
	defer s.mu.Unlock()
	delete(s.into, k)
	delete(s.other, k)
}

// Own reports whether a captured connection is a leg of ours. A plain leg from a pod may well arrive at
// another pod of the node as inbound; as outbound it is captured for the second time.
func (l *Set) Own(kind engine.Kind, source, dest netip.AddrPort) bool {
	k := l.Key(Tuple{source, dest})
	s := l.lock(shardOf(dest))
	defer s.mu.Unlock()
	if _, ok := s.into[k]; ok {
		return true
	}
	_, ok := s.other[k]
	return ok && kind == engine.Outbound
}
