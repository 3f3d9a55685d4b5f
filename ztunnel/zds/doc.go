// Package zds is the proxy's end of ZDS, version 2: the agent hands pods' network namespaces and
// listeners over, one message a packet on a SOCK_SEQPACKET socket. The proxy says Hello and then only
// answers; each request gets exactly one response, in order.
package zds

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// ErrProtocol says that the agent broke the protocol. The request is answered with the error; a packet
// that does not even decode is too.
var ErrProtocol = errors.New("zds protocol error")

// Pod is one AddWorkload with its descriptors.
type Pod struct {
	UID            string
	Name           string
	Namespace      string
	ServiceAccount string
	Addrs          []netip.Addr // unmapped
	Sockets
}

// Sockets are a pod's descriptors, close-on-exec, bare: an os.File would make the shared socket
// blocking.
type Sockets struct {
	V6        bool
	Mark      uint32 // SO_MARK of legs to applications in the pod
	NetNS     int
	Listeners []int // in the order of Slots
}

// Close closes all descriptors.
func (s Sockets) Close() { closeAll(append([]int{s.NetNS}, s.Listeners...)) }

// Slot is one place in a ListenerSet.
type Slot struct {
	Kind engine.Kind
	V6   bool
}

// Slots is the order of listeners on the wire.
func Slots(v6 bool) []Slot {
	var out []Slot
	for _, k := range []engine.Kind{engine.Inbound, engine.Outbound, engine.HBONE} {
		out = append(out, Slot{Kind: k})
		if v6 {
			out = append(out, Slot{Kind: k, V6: true})
		}
	}
	return out
}

// State answers QueryPod.
type State struct {
	Connections uint64        // live ones of the pod
	PlainKnown  bool          // every connected proxy has acknowledged that the pod is plain
	Idle        time.Duration // since the last connection to or from the pod
	Waiting     string        // what the pod waits for, or ""
}

// Handler does what the agent asks. The calls are made one at a time. They must return within the
// agent's patience, 5 s. An error becomes the response's text and ends nothing.
type Handler interface {
	// Begin is called when a session stands, before its first request.
	Begin()
	// Add serves a pod. The descriptors are the handler's, also if it fails.
	Add(Pod) error
	// Del ends a pod. An unknown one is no error.
	Del(uid string) error
	// Keep says that a pod goes on which the agent cannot hand over again.
	Keep(uid string) error
	// SnapshotSent says that every pod has been named in this session.
	SnapshotSent() error
	// Return gives a pod's sockets back. They stay the handler's and must live until the next call.
	Return(uid string) (Sockets, error)
	// Retire says that a pod is being un-enrolled.
	Retire(uid string) error
	// Query tells a pod's state.
	Query(uid string) (State, error)
	// Drain says that a newer proxy has taken all pods over.
	Drain() error
	// Inherit hands over the state of the proxy before, or nil, to be closed by the handler, and asks for
	// this proxy's, which stays the handler's; nil: none.
	Inherit(old *os.File) (own *os.File, err error)
	// Direct offers what it takes to let connections go past the proxy: the gate, an array to be mapped, and
	// the channel on which to ask. Both descriptors are the handler's, also if it fails: then everything goes
	// through the proxy.
	Direct(gate, channel int) error
	// End is called when the session is over.
	End()
}
