package xds

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// ProxyStatus is the state of one stream.
type ProxyStatus struct {
	Node     string                `json:"node"`
	ID       string                `json:"id,omitempty"`
	Peer     string                `json:"peer"`
	Since    time.Time             `json:"since"`
	Until    time.Time             `json:"until,omitzero"` // the end of its certificate
	Types    map[string]TypeStatus `json:"types"`
	Refusals []Refusal             `json:"refusals,omitempty"`
}

// TypeStatus is the state of one type on a stream.
type TypeStatus struct {
	Synced   bool   `json:"synced"`            // the proxy has acknowledged all there is
	Version  string `json:"version,omitempty"` // system version of the last acknowledged response
	Position uint64 `json:"position"`
	Waiting  bool   `json:"waiting,omitempty"` // a response is not acknowledged yet
	Held     bool   `json:"held,omitempty"`    // this controller is behind what the proxy has seen
}

// Status returns the connected proxies by node and id.
func (s *Server) Status() []ProxyStatus {
	all := []ProxyStatus{}
	for _, st := range s.open() {
		all = append(all, st.status())
	}
	slices.SortFunc(all, func(a, b ProxyStatus) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID), a.Since.Compare(b.Since))
	})
	return all
}

func (s *stream) status() ProxyStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := ProxyStatus{Node: s.caller.Node, ID: s.id, Peer: peerAddr(s.ads.Context()), Since: s.since, Until: s.caller.Until,
		Types: map[string]TypeStatus{}}
	for _, w := range []*watch{s.addresses, s.policies, s.captures} {
		if w == nil {
			continue
		}
		p.Types[w.typeURL] = s.typeStatus(w)
		for _, name := range slices.Sorted(maps.Keys(w.nacks)) {
			p.Refusals = append(p.Refusals, w.nacks[name])
		}
	}
	return p
}

func (s *stream) typeStatus(w *watch) TypeStatus {
	t := TypeStatus{Version: w.system, Position: w.acked, Waiting: w.flying != nil, Held: !w.started && !w.blocked.IsZero()}
	t.Synced = w.flying == nil && (w.typeURL == CaptureType || w.started && len(w.deferred) == 0 && !s.server.cfg.Cache.unsent(w.typeURL, w.cursor))
	return t
}
