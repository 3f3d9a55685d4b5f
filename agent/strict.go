package agent

import (
	"cmp"
	"time"

	securityapi "istio.io/api/security/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

// rootNamespace is where policies are for the whole mesh.
const rootNamespace = "ambit-system"

// MTLS is what one PeerAuthentication asks for a port.
type MTLS int8

// The modes. DISABLE is PERMISSIVE: a peer with an identity uses it anyway.
const (
	Inherit MTLS = iota
	Permissive
	Strict
)

func (m MTLS) or(inherited bool) bool {
	if m == Inherit {
		return inherited
	}
	return m == Strict
}

// Peer is what counts of a PeerAuthentication: a port of a STRICT pod cannot be excluded, for there
// nobody would ask for mutual TLS.
type Peer struct {
	Namespace, Name string
	Created         time.Time
	Selector        map[string]string // empty: the namespace, or the mesh
	Mode            MTLS
	Ports           map[uint32]MTLS
	Bad             bool // it cannot be understood: STRICT
}

// peerOf reads a PeerAuthentication as the controller does.
func peerOf(pa *security.PeerAuthentication) Peer {
	p := Peer{
		Namespace: pa.Namespace, Name: pa.Name, Created: pa.CreationTimestamp.Time,
		Selector: pa.Spec.GetSelector().GetMatchLabels(), Ports: map[uint32]MTLS{},
	}
	_, unreadable := pa.Annotations[objects.UnreadableAnnotation]
	ok := !unreadable
	p.Mode = modeOf(pa.Spec.GetMtls(), &ok)
	for port, m := range pa.Spec.GetPortLevelMtls() {
		p.Ports[port] = modeOf(m, &ok)
		ok = ok && len(p.Selector) > 0
	}
	if !ok {
		p.Mode, p.Ports, p.Bad = Strict, nil, true
	}
	return p
}

func modeOf(m *securityapi.PeerAuthentication_MutualTLS, ok *bool) MTLS {
	switch m.GetMode() {
	case securityapi.PeerAuthentication_MutualTLS_UNSET:
		return Inherit
	case securityapi.PeerAuthentication_MutualTLS_DISABLE, securityapi.PeerAuthentication_MutualTLS_PERMISSIVE:
		return Permissive
	case securityapi.PeerAuthentication_MutualTLS_STRICT:
	default:
		*ok = false
	}
	return Strict
}

// strict says whether mutual TLS is required at a port of the pod.
func (v View) strict(pod Pod, port uint16) bool {
	if v.Blind {
		return true
	}
	required := false
	for _, ns := range []string{rootNamespace, pod.Namespace} {
		if p := v.first(ns, func(p Peer) bool { return len(p.Selector) == 0 }); p != nil {
			required = p.Mode.or(required)
		}
	}
	p := v.first(pod.Namespace, func(p Peer) bool { return len(p.Selector) > 0 && selects(p.Selector, pod.Labels) })
	if p == nil {
		return required
	}
	return p.Ports[uint32(port)].or(p.Mode.or(required))
}

// first is the one of several that applies: one that cannot be understood, else the oldest, else the
// first by name.
func (v View) first(namespace string, match func(Peer) bool) (best *Peer) {
	for i := range v.Peers {
		p := &v.Peers[i]
		if p.Namespace == namespace && match(*p) && (best == nil || p.before(best)) {
			best = p
		}
	}
	return best
}

func (p *Peer) before(q *Peer) bool {
	if p.Bad != q.Bad {
		return p.Bad
	}
	return cmp.Or(p.Created.Compare(q.Created), cmp.Compare(p.Name, q.Name)) < 0
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
