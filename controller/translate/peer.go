package translate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	istioapi "istio.io/api/security/v1beta1"
	istiosecurity "istio.io/client-go/pkg/apis/security/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

// mode is whether mutual TLS is required.
type mode int8

const (
	inherit mode = iota
	permissive
	strict
)

func (m mode) or(inherited bool) bool {
	if m == inherit {
		return inherited
	}
	return m == strict
}

// peer is what a PeerAuthentication says.
type peer struct {
	key      key
	created  time.Time
	selector map[string]string // empty: the namespace, or the mesh
	mode     mode
	ports    map[uint32]mode
	bad      bool   // cannot be understood: STRICT
	why      string // it is bad
	status   Status
}

// unlessBad returns p, or the older version if p cannot be understood and that could.
func (p *peer) unlessBad(old *peer) *peer {
	if !p.bad || old == nil || old.bad {
		return p
	}
	kept := *old
	kept.status.Accepted, kept.status.Generation = false, p.status.Generation
	kept.status.Message = p.why + previousStays
	return &kept
}

// readPeer reads a PeerAuthentication. One that cannot be understood is STRICT for all its ports.
func readPeer(pa *istiosecurity.PeerAuthentication) *peer {
	r := &reader{}
	p := &peer{
		key: key{pa.Namespace, pa.Name}, created: pa.CreationTimestamp.Time, selector: r.selector(pa.Spec.Selector),
		mode: r.mode("mtls.mode", pa.Spec.Mtls), ports: map[uint32]mode{},
		status: Status{Ref: Ref{objects.PeerAuthentication, pa.Namespace, pa.Name}, Accepted: true, EnforcedBy: ztunnel,
			Generation: pa.Generation},
	}
	r.allKnown(&pa.Spec)
	if why, ok := pa.Annotations[objects.UnreadableAnnotation]; ok {
		r.fail("", errors.New(why))
	}
	for _, port := range slices.Sorted(maps.Keys(pa.Spec.PortLevelMtls)) {
		at := fmt.Sprintf("portLevelMtls[%d]", port)
		if port == 0 || port > 65535 {
			r.fail(at, errors.New("is no port"))
		}
		p.ports[port] = r.mode(at+".mode", pa.Spec.PortLevelMtls[port])
	}
	if len(p.ports) > 0 && len(pa.Spec.Selector.GetMatchLabels()) == 0 {
		r.fail("portLevelMtls", errors.New("needs a selector"))
	}
	p.status.Parts = r.warnings
	if len(r.errs) > 0 {
		p.bad, p.mode, p.ports = true, strict, nil
		p.status.Accepted = false
		p.why = oneLine(r.errs)
		p.status.Message = p.why + "; taken as STRICT"
	}
	return p
}

func (r *reader) mode(path string, tls *istioapi.PeerAuthentication_MutualTLS) mode {
	switch tls.GetMode() {
	case istioapi.PeerAuthentication_MutualTLS_UNSET:
		return inherit
	case istioapi.PeerAuthentication_MutualTLS_DISABLE:
		r.warn(path, "DISABLE is taken as PERMISSIVE: peers with an identity still use mutual TLS")
		return permissive
	case istioapi.PeerAuthentication_MutualTLS_PERMISSIVE:
		return permissive
	case istioapi.PeerAuthentication_MutualTLS_STRICT:
		return strict
	}
	r.fail(path, fmt.Errorf("unknown mode %d", tls.GetMode()))
	return strict
}
