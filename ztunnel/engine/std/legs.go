package std

import (
	"net/netip"
	"sync"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// tuple is the two ends of a leg, as its maker sees them.
type tuple struct{ local, remote netip.AddrPort }

const legShards = 64

// legs are the sockets that the engine has connected, so that it knows them if they come back: a node
// whose redirection is broken must not make a connection feed on itself.
type legs struct {
	shards [legShards]struct {
		mu   sync.Mutex
		live map[tuple]engine.Action
	}
}

func (l *legs) lock(remote netip.AddrPort) (*map[tuple]engine.Action, func()) {
	a := remote.Addr().As16()
	s := &l.shards[(uint16(a[15])^uint16(a[14])^remote.Port())%legShards]
	s.mu.Lock()
	if s.live == nil {
		s.live = map[tuple]engine.Action{}
	}
	return &s.live, s.mu.Unlock
}

// add notes a leg before it is connected; false says that there is one like it.
func (l *legs) add(t tuple, a engine.Action) bool {
	live, unlock := l.lock(t.remote)
	defer unlock()
	if _, ok := (*live)[t]; ok {
		return false
	}
	(*live)[t] = a
	return true
}

// addAfter notes a leg whose local end is known only after connect. No connection to remote is judged
// meanwhile.
func (l *legs) addAfter(remote netip.AddrPort, a engine.Action, connect func() (netip.AddrPort, error)) (tuple, error) {
	live, unlock := l.lock(remote)
	defer unlock()
	local, err := connect()
	t := tuple{local, remote}
	if err == nil {
		(*live)[t] = a
	}
	return t, err
}

func (l *legs) remove(t tuple) {
	live, unlock := l.lock(t.remote)
	defer unlock()
	delete(*live, t)
}

// own reports whether a captured connection is a leg of ours. A plain leg from a pod may well arrive at
// another pod of the node as inbound; as outbound it is captured for the second time.
func (l *legs) own(kind engine.Kind, source, dest netip.AddrPort) bool {
	live, unlock := l.lock(dest)
	defer unlock()
	a, ok := (*live)[tuple{source, dest}]
	return ok && (a == engine.Deliver || kind == engine.Outbound)
}
