package xds

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/xds"
)

// Bounds of what one request and one stream may name.
const (
	maxName  = 1024 // bytes
	maxNames = 1 << 18
)

// request takes in one message of the proxy.
func (s *stream) request(req *discovery.DeltaDiscoveryRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := checkNames(req); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if s.id == "" && req.GetNode() != nil {
		s.id = clip(req.GetNode().GetId(), maxName)
		s.seen = s.seenBy(req.GetNode())
	}
	switch req.GetTypeUrl() {
	case AddressType:
		s.subscribe(&s.addresses, req)
		s.positions()
	case AuthorizationType:
		s.subscribe(&s.policies, req)
	case CaptureType:
		s.capture(req)
	default:
		s.log.Warn("a proxy asks for an unknown type", "type", clip(req.GetTypeUrl(), 128))
	}
	return nil
}

func checkNames(req *discovery.DeltaDiscoveryRequest) error {
	if n := len(req.GetResourceNamesSubscribe()) + len(req.GetResourceNamesUnsubscribe()); n > maxNames {
		return fmt.Errorf("%d names, at most %d", n, maxNames)
	}
	for _, list := range [][]string{req.GetResourceNamesSubscribe(), req.GetResourceNamesUnsubscribe()} {
		for _, name := range list {
			if name == "" || len(name) > maxName {
				return fmt.Errorf("a name of %d bytes, at most %d", len(name), maxName)
			}
		}
	}
	return nil
}

// subscribe begins a watch, or takes in an acknowledgement and changes of interest.
func (s *stream) subscribe(at **watch, req *discovery.DeltaDiscoveryRequest) {
	w := *at
	if w == nil {
		w = newWatch(req.GetTypeUrl(), req, s.server.cfg.Now())
		w.cursor = s.server.cfg.Cache.attach(w.typeURL)
		*at = w
		return
	}
	w.subscribe(req)
	s.answered(w, req)
}

func (s *stream) answered(w *watch, req *discovery.DeltaDiscoveryRequest) {
	now := s.server.cfg.Now()
	f, ok := w.answer(req, now)
	if !ok {
		return // a change of interest alone, or an answer to an older response
	}
	s.server.metrics.acked(w.typeURL, now.Sub(f.at), req.GetErrorDetail() != nil)
	if d := req.GetErrorDetail(); d != nil {
		s.log.Warn("a proxy refused resources", "proxy", s.id, "type", w.typeURL, "error", clip(d.GetMessage(), maxDetail))
	}
}

// positions tells how far the proxy knows workloads. A refusal counts: the proxy has taken the rest, and
// waiting longer would not change its mind.
func (s *stream) positions() {
	if w := s.addresses; w.started {
		s.server.cfg.Captures.acknowledged(s.proxy, w.acked)
	}
}

func (s *stream) capture(req *discovery.DeltaDiscoveryRequest) {
	if s.captures == nil {
		s.captures = &watch{typeURL: CaptureType, since: s.server.cfg.Now(), nacks: map[string]Refusal{}}
	} else {
		s.answered(s.captures, req)
	}
	s.server.cfg.Captures.want(s.proxy, req.GetResourceNamesSubscribe(), req.GetResourceNamesUnsubscribe())
}

// seenBy reads the versions that the proxy has seen. What cannot be read was not ours.
func (s *stream) seenBy(n *discovery.Node) map[string]Versions {
	out := map[string]Versions{}
	for typeURL, v := range n.GetMetadata().GetFields()[xds.SeenKey].GetStructValue().GetFields() {
		versions, err := ParseVersions(v.GetStringValue())
		if err != nil {
			s.log.Warn("a proxy has seen unknown versions", "proxy", s.id, "type", clip(typeURL, 128), "error", err)
			continue
		}
		out[typeURL] = versions
	}
	return out
}
