package xds

import (
	"math"
	"strconv"
	"time"

	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// idle is when to look again if nothing happens: never needed, it bounds the harm of an oversight.
const idle = time.Minute

// next returns the response to send now, if any, else when to look again at the latest. Policies come
// before workloads, and confirmations of captures last.
func (s *stream) next() (*discovery.DeltaDiscoveryResponse, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.server.cfg.Cache.Ready() {
		return nil, idle, nil
	}
	now, wait := s.server.cfg.Now(), idle
	for _, try := range []func(time.Time) (*discovery.DeltaDiscoveryResponse, time.Duration, error){
		s.nextPolicies, s.nextAddresses, s.nextCaptures} {
		resp, w, err := try(now)
		if resp != nil || err != nil {
			return resp, idle, err
		}
		wait = min(wait, w)
	}
	return nil, max(wait, time.Millisecond), nil
}

func (s *stream) nextPolicies(now time.Time) (*discovery.DeltaDiscoveryResponse, time.Duration, error) {
	w := s.policies
	if w == nil || w.flying != nil {
		return nil, idle, nil
	}
	if !w.started {
		return s.first(w, now)
	}
	known := s.workloadsKnown()
	b := s.server.cfg.Cache.next(w.typeURL, w.cursor, w.names, known, s.server.cfg.MaxMessage)
	if len(w.deferred) > 0 && known > w.deferTo {
		b.removed = append(b.removed, w.deferred...)
		w.deferred = nil
	}
	return s.respond(w, b, now), idle, nil
}

// workloadsKnown is the position up to which the proxy knows workloads: policies that went before it are
// named by none of them any more.
func (s *stream) workloadsKnown() uint64 {
	w := s.addresses
	switch {
	case w == nil:
		return math.MaxUint64
	case !w.started:
		return 0
	case w.flying == nil && !s.server.cfg.Cache.news(w.typeURL, w.cursor):
		return math.MaxUint64
	}
	return w.acked
}

func (s *stream) nextAddresses(now time.Time) (*discovery.DeltaDiscoveryResponse, time.Duration, error) {
	w := s.addresses
	if w == nil || w.flying != nil {
		return nil, idle, nil
	}
	if !w.started && s.server.cfg.Cache.behind(s.seen[w.typeURL]) {
		return s.hold(w, now)
	}
	if wait := s.policiesFirst(now); wait > 0 {
		return nil, wait, nil
	}
	if !w.started {
		return s.first(w, now)
	}
	b := s.server.cfg.Cache.next(w.typeURL, w.cursor, w.names, math.MaxUint64, s.server.cfg.MaxMessage)
	if len(w.fresh) > 0 {
		f := s.server.cfg.Cache.named(w.typeURL, w.fresh)
		b, w.fresh = join(b, f), nil
	}
	if b.empty() {
		w.acked = max(w.acked, b.to) // changes that this stream does not want
		s.positions()
	}
	return s.respond(w, b, now), idle, nil
}

// join adds what a stream has begun to want, unless the batch has it already.
func join(b, fresh batch) batch {
	in := make(map[string]bool, len(b.resources))
	for _, r := range b.resources {
		in[r.Name] = true
	}
	for _, r := range fresh.resources {
		if !in[r.Name] {
			b.resources = append(b.resources, r)
		}
	}
	b.removed = append(b.removed, fresh.removed...)
	return b
}

// policiesFirst returns how long workloads must still wait for policies, 0 if they need not.
func (s *stream) policiesFirst(now time.Time) time.Duration {
	w := s.policies
	if w == nil {
		return s.addresses.since.Add(firstWait).Sub(now)
	}
	if w.started && !s.server.cfg.Cache.news(w.typeURL, w.cursor) {
		s.blocked = time.Time{}
		return 0
	}
	if s.blocked.IsZero() {
		s.blocked = now
	}
	return s.blocked.Add(s.server.cfg.PolicyWait).Sub(now)
}

// respond is transmit, or nil if there is nothing to say.
func (s *stream) respond(w *watch, b batch, now time.Time) *discovery.DeltaDiscoveryResponse {
	if b.empty() {
		return nil
	}
	return s.transmit(w, b, now)
}

func (s *stream) transmit(w *watch, b batch, now time.Time) *discovery.DeltaDiscoveryResponse {
	s.nonce++
	resp := &discovery.DeltaDiscoveryResponse{TypeUrl: w.typeURL, SystemVersionInfo: b.system, Nonce: strconv.FormatUint(s.nonce, 10),
		RemovedResources: b.removed, Resources: make([]*discovery.Resource, 0, len(b.resources))}
	names := make([]string, 0, len(b.resources))
	for _, r := range b.resources {
		resp.Resources = append(resp.Resources, &discovery.Resource{Name: r.Name, Version: r.Version, Resource: r.Body})
		names = append(names, r.Name)
	}
	w.flying = &flight{nonce: resp.Nonce, names: names, removed: b.removed, system: b.system, to: b.to, at: now}
	s.server.metrics.sent(resp)
	return resp
}

func (s *stream) nextCaptures(now time.Time) (*discovery.DeltaDiscoveryResponse, time.Duration, error) {
	w := s.captures
	if w == nil || w.flying != nil {
		return nil, idle, nil
	}
	captured, plain := s.server.cfg.Captures.confirmed(s.proxy)
	b := batch{removed: plain}
	for _, uid := range captured {
		r, err := NewResource(uid, &ambit.Capture{Uid: uid})
		if err != nil {
			return nil, 0, err
		}
		b.resources = append(b.resources, r)
	}
	return s.respond(w, b, now), idle, nil
}
