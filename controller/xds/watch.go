package xds

import (
	"time"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// watch is one type on one stream.
type watch struct {
	typeURL string
	since   time.Time
	names   interest // nil: all
	fresh   interest // wanted since the last response: told about even if nothing changed
	cursor  *cursor
	has     map[string]string // what the proxy said it has; nil once that was answered
	started bool              // the difference to has was sent
	kept    bool              // told to keep what it has, for this controller is behind
	blocked time.Time         // since when the first answer is held

	// Removals that wait until workloads are known up to a position.
	deferred []string
	deferTo  uint64

	flying *flight
	acked  uint64 // all changes up to here were acknowledged
	system string // of the last acknowledged response
	nacks  map[string]Refusal
}

// flight is a response that was not answered yet.
type flight struct {
	nonce   string
	names   []string
	removed []string
	system  string
	to      uint64
	at      time.Time
}

// Refusal is a resource that a proxy refused.
type Refusal struct {
	Type     string    `json:"type"`
	Resource string    `json:"resource"`
	Detail   string    `json:"detail"`
	At       time.Time `json:"at"`
}

func newWatch(typeURL string, req *discovery.DeltaDiscoveryRequest, now time.Time) *watch {
	w := &watch{typeURL: typeURL, since: now, has: req.GetInitialResourceVersions(), nacks: map[string]Refusal{}}
	if w.has == nil {
		w.has = map[string]string{}
	}
	if len(req.GetResourceNamesSubscribe()) > 0 && typeURL != AuthorizationType {
		w.names = interest{}
	}
	w.subscribe(req)
	w.fresh = nil // the first answer covers them
	return w
}

const wildcard = "*"

// subscribe takes in names. Nobody may see a part of the policies only: they are always all sent.
func (w *watch) subscribe(req *discovery.DeltaDiscoveryRequest) {
	if w.typeURL == AuthorizationType {
		return
	}
	for _, name := range req.GetResourceNamesSubscribe() {
		switch {
		case name == wildcard:
			w.names, w.fresh, w.started = nil, nil, w.started && w.names == nil
		case w.names != nil:
			w.names[name] = struct{}{}
			if w.fresh == nil {
				w.fresh = interest{}
			}
			w.fresh[name] = struct{}{}
		}
	}
	for _, name := range req.GetResourceNamesUnsubscribe() {
		switch {
		case name == wildcard && w.names == nil:
			w.names = interest{}
		case name != wildcard:
			delete(w.names, name)
			delete(w.fresh, name)
		}
	}
}

// answer takes in an acknowledgement or refusal and reports whether it was of the response under way.
func (w *watch) answer(req *discovery.DeltaDiscoveryRequest, now time.Time) (f *flight, ok bool) {
	f = w.flying
	if f == nil || req.GetResponseNonce() != f.nonce {
		return nil, false
	}
	w.flying = nil
	w.acked = max(w.acked, f.to)
	w.system = f.system
	w.noteRefusals(f, req, now)
	return f, true
}
