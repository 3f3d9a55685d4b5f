package decide

import (
	"strings"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/mesh"
)

// byHostname finds, among the services that w belongs to, the one of that name which has the port, and
// where w serves it. Of several the first by key counts.
func byHostname(snap *mesh.Snapshot, w *mesh.Workload, host string, port uint16) (svc *mesh.Service, target uint16, ok bool) {
	for _, m := range w.Services {
		s := snap.Service(m.Service)
		if s == nil || !strings.EqualFold(s.Hostname, host) || svc != nil && svc.Key < s.Key {
			continue
		}
		if t, has := targetPort(s, &mesh.Endpoint{Workload: w, Ports: m.Ports}, port); has {
			svc, target, ok = s, t, true
		}
	}
	return svc, target, ok
}

// forwardedService returns the service that a tunnel's opener says was called. It is hearsay and good
// for a label only, so it counts only among the services that w belongs to.
func forwardedService(snap *mesh.Snapshot, w *mesh.Workload, forwarded string) (svc *mesh.Service) {
	if forwarded == "" || len(w.Services) == 0 {
		return nil
	}
	_, host, err := hbone.ParseForwarded(forwarded)
	if err != nil || host == "" {
		return nil
	}
	for _, m := range w.Services {
		s := snap.Service(m.Service)
		if s != nil && strings.EqualFold(s.Hostname, host) && (svc == nil || s.Key < svc.Key) {
			svc = s
		}
	}
	return svc
}

// onlyService guesses what a plaintext caller called, for a label: the one service that w serves on
// that port, if there is but one.
func onlyService(snap *mesh.Snapshot, w *mesh.Workload, port uint16) (svc *mesh.Service) {
	for _, m := range w.Services {
		s := snap.Service(m.Service)
		if s == nil || !serves(s, &mesh.Endpoint{Workload: w, Ports: m.Ports}, port) {
			continue
		}
		if svc != nil {
			return nil
		}
		svc = s
	}
	return svc
}

func serves(s *mesh.Service, e *mesh.Endpoint, port uint16) bool {
	for _, p := range s.Ports {
		if t, ok := targetPort(s, e, p.Service); ok && t == port {
			return true
		}
	}
	return false
}
