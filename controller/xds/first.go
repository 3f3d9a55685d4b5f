package xds

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// first returns the first answer of a type, or holds it: see the package.
func (s *stream) first(w *watch, now time.Time) (*discovery.DeltaDiscoveryResponse, time.Duration, error) {
	cache := s.server.cfg.Cache
	if w.typeURL == AddressType && len(w.has) > 0 && s.server.cfg.Captures.unsure() {
		return nil, 100 * time.Millisecond, nil
	}
	if cache.behind(s.seen[w.typeURL]) {
		return s.hold(w, now)
	}
	b := cache.first(w.typeURL, w.cursor, w.has, w.names)
	if size := b.size(); size > s.server.cfg.MaxMessage {
		return nil, 0, status.Error(codes.ResourceExhausted, fmt.Sprintf("the first answer of %s takes %d bytes, at most %d", w.typeURL, size, s.server.cfg.MaxMessage))
	}
	if w.typeURL == AuthorizationType && s.addresses != nil && !s.addresses.started {
		w.deferred, b.removed = b.removed, nil
		w.deferTo = b.to
	}
	w.started, w.has, w.fresh = true, nil, nil
	return s.transmit(w, b, now), 0, nil
}

func (b *batch) size() (n int) {
	for _, r := range b.resources {
		e := entry{Resource: r}
		n += e.size()
	}
	for _, name := range b.removed {
		n += len(name) + 8
	}
	return n
}

// catchUpEvery is how often a controller that is behind is asked to look.
const catchUpEvery = time.Second

// hold is for a controller that is behind what the proxy has seen: it says nothing for a while, then tells a
// proxy that has something to keep it.
func (s *stream) hold(w *watch, now time.Time) (*discovery.DeltaDiscoveryResponse, time.Duration, error) {
	if w.blocked.IsZero() {
		w.blocked = now
		s.server.metrics.held.Inc()
		s.log.Warn("this controller is behind what a proxy has seen, waiting", "proxy", s.id, "type", w.typeURL,
			"here", s.server.cfg.Cache.Versions().String(), "seen", s.seen[w.typeURL].String())
	}
	s.server.cfg.CatchUp(s.seen[w.typeURL])
	if wait := w.blocked.Add(s.server.cfg.StaleWait).Sub(now); wait > 0 {
		return nil, min(wait, catchUpEvery), nil
	}
	if w.kept || len(w.has) == 0 {
		return nil, catchUpEvery, nil
	}
	w.kept = true
	s.log.Error("this controller is still behind: the proxy keeps what it has", "proxy", s.id, "type", w.typeURL)
	return s.transmit(w, batch{}, now), 0, nil
}
