package loop

import (
	"math"
	"slices"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// kept is what a record comes down to once its connection is established and has lasted: without what is for
// its begin and its end, and with addresses and the trace packed. There may be very many.
type kept struct {
	accepted time.Time
	id       uint64

	first, connected, handshake time.Duration

	pod      *engine.Pod // of the dial
	peer     *identity.ID
	peers    *[]string
	from, to *mesh.Workload
	service  *mesh.Service
	state    any
	policy   string

	places
	trace    hbone.Traceparent // zero: none
	attempts uint8
	kind     engine.Kind
	action   engine.Action
	bound    bool // the dial's source is the record's
}

// keep packs the record of a flow, or returns nil for one that does not fit.
func keep(r *engine.Record, of shared) *kept {
	d := &r.Attempt.Dial
	k := &kept{accepted: r.Accepted, id: r.ID, first: r.First, connected: r.Attempt.Connected, handshake: r.Attempt.Handshake,
		pod: d.Pod, from: r.From, to: r.To, service: r.Service, state: r.State, policy: r.Policy,
		attempts: uint8(r.Attempts), kind: r.Kind, action: d.Action, bound: d.Source.IsValid()}
	fits := r.Attempts <= math.MaxUint8 && r.Request == nil && d.Request == nil && d.Timeout == 0 &&
		r.Reason == "" && r.Detail == "" && r.Ended == 0 && r.TCPInfo == engine.TCPInfo{} &&
		(!k.bound || d.Source == r.Source.Addr()) &&
		k.put(r.Pod, sourceAt, r.Source) && k.put(r.Pod, destAt, r.Dest) && k.put(r.Pod, targetAt, r.Target) && k.put(r.Pod, dialedAt, d.To) &&
		k.keepTrace(r.Trace) && k.keepPeer(r.Peer, of) && k.keepPeers(d.Peers, of)
	if !fits {
		return nil
	}
	return k
}

// shared is what all tunnels of one connection have in common.
type shared struct {
	peer  *identity.ID
	peers *[]string
}

func (k *kept) keepPeer(id identity.ID, of shared) bool {
	if id.IsZero() {
		return true
	}
	k.peer = of.peer
	return k.peer != nil && *k.peer == id
}

func (k *kept) keepPeers(list []string, of shared) bool {
	if list == nil {
		return true
	}
	k.peers = of.peers
	return k.peers != nil && *k.peers != nil && slices.Equal(*k.peers, list)
}

func (k *kept) keepTrace(s string) bool {
	if s == "" {
		return true
	}
	var err error
	k.trace, err = hbone.ParseTraceparent(s)
	return err == nil && k.trace.String() == s
}

// record fills in what keep was given. The bytes are the caller's to add.
func (k *kept) record(r *engine.Record, p *engine.Pod) {
	*r = engine.Record{
		ID: k.id, Kind: k.kind, Attempts: int32(k.attempts), Pod: p, Accepted: k.accepted, First: k.first,
		Source: k.at(p, sourceAt), Dest: k.at(p, destAt), Target: k.at(p, targetAt),
		Attempt: engine.Attempt{Connected: k.connected, Handshake: k.handshake,
			Dial: engine.Dial{Action: k.action, To: k.at(p, dialedAt), Pod: k.pod}},
		From: k.from, To: k.to, Service: k.service, Policy: k.policy, State: k.state,
	}
	if k.bound {
		r.Attempt.Dial.Source = r.Source.Addr()
	}
	if k.peer != nil {
		r.Peer = *k.peer
	}
	if k.peers != nil {
		r.Attempt.Dial.Peers = *k.peers
	}
	if k.trace != (hbone.Traceparent{}) {
		r.Trace = k.trace.String()
	}
}
