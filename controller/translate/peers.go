package translate

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	istiosecurity "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

// peerIndex finds PeerAuthentications by the pods that they apply to.
type peerIndex struct {
	byKey     map[key]*peer
	wide      multimap[string, key] // without a selector, by namespace
	in        multimap[string, key] // all, by namespace
	selectors selectors
}

func newPeerIndex() peerIndex {
	return peerIndex{map[key]*peer{}, multimap[string, key]{}, multimap[string, key]{}, selectors{}}
}

// setPeer replaces a PeerAuthentication; nil removes it. If it cannot be understood, the last version
// that could be stays in force.
func (m *Mesh) setPeer(k key, pa *istiosecurity.PeerAuthentication) {
	x, old := &m.peers, m.peers.byKey[k]
	if old != nil {
		m.stalePeer(k, old)
		x.selectors.remove(k, old.selector)
		x.wide.remove(k.namespace, k)
		x.in.remove(k.namespace, k)
		delete(x.byKey, k)
	}
	if pa != nil {
		now := readPeer(pa).unlessBad(old)
		x.selectors.add(k, now.selector)
		if len(now.selector) == 0 {
			x.wide.add(k.namespace, k)
		}
		x.in.add(k.namespace, k)
		x.byKey[k] = now
		m.stalePeer(k, now)
	}
	m.stale.peers.add(k)
}

// stalePeer marks what a PeerAuthentication has a say in: the pods, the others of its namespace, whose
// status names the one that wins, and, if it is the mesh's, those of all namespaces, which inherit.
func (m *Mesh) stalePeer(k key, p *peer) {
	namespace := k.namespace
	if len(p.selector) == 0 {
		namespace = m.selected(k.namespace)
	}
	m.stalePods(namespace, p.selector)
	if namespace == "" {
		for _, keys := range m.peers.in {
			m.stale.peers.add(slices.Collect(maps.Keys(keys))...)
		}
		return
	}
	m.stale.peers.add(slices.Collect(maps.Keys(m.peers.in[namespace]))...)
}

// first returns the one of several that applies: one that cannot be read, for nothing may open what it
// closes, else the oldest, else the first by name. Nil if there is none.
func (m *Mesh) first(keys set[key]) *peer {
	var best *peer
	for k := range keys {
		if p := m.peers.byKey[k]; best == nil || p.before(best) {
			best = p
		}
	}
	return best
}

func (p *peer) before(q *peer) bool {
	if p.bad != q.bad {
		return p.bad
	}
	return cmp.Or(p.created.Compare(q.created), compareKeys(p.key, q.key)) < 0
}

// strictIn reports whether mutual TLS is required in a namespace unless a selector says otherwise.
func (m *Mesh) strictIn(namespace string) bool {
	strict := false
	for _, ns := range []string{m.opts.RootNamespace, namespace} {
		if p := m.first(m.peers.wide[ns]); p != nil {
			strict = p.mode.or(strict)
		}
	}
	return strict
}

// peersOf returns the names of the policies that make a pod require mutual TLS.
func (m *Mesh) peersOf(p *corev1.Pod) []string {
	strict := m.strictIn(p.Namespace)
	matching := set[key]{}
	m.peers.selectors.candidates(p.Namespace, p.Labels, func(k key) {
		if selects(m.peers.byKey[k].selector, p.Labels) {
			matching.add(k)
		}
	})
	w := m.first(matching)
	switch {
	case w != nil && w.exceptions(strict) != nil:
		return []string{key{w.key.namespace, portPolicyName(w.key.name)}.String()}
	case w != nil && w.mode.or(strict), w == nil && strict:
		return []string{key{m.opts.RootNamespace, staticStrict}.String()}
	}
	return nil
}

// flushPeers also sends the policy that every mesh has, so that no workload names it before it is known.
func (m *Mesh) flushPeers() error {
	errs := []error{m.out.put(AuthorizationType, key{m.opts.RootNamespace, staticStrict}.String(), strictPolicy(m.opts.RootNamespace))}
	for k := range m.stale.peers {
		ref, name := Ref{objects.PeerAuthentication, k.namespace, k.name}, key{k.namespace, portPolicyName(k.name)}.String()
		p := m.peers.byKey[k]
		if p == nil {
			delete(m.status, ref)
			m.out.remove(AuthorizationType, name)
			continue
		}
		m.status[ref] = m.peerStatus(p)
		if a := p.exceptions(m.strictIn(k.namespace)); a != nil {
			errs = append(errs, m.out.put(AuthorizationType, name, a))
		} else {
			m.out.remove(AuthorizationType, name)
		}
	}
	clear(m.stale.peers)
	return errors.Join(errs...)
}

// peerStatus says whether another one always takes this one's place.
func (m *Mesh) peerStatus(p *peer) Status {
	st := p.status
	for _, k := range sortedKeys(m.peers.in[p.key.namespace]) {
		q := m.peers.byKey[k]
		covers := q.before(p) && selects(q.selector, p.selector) && (len(q.selector) > 0) == (len(p.selector) > 0)
		if covers {
			st.EnforcedBy = ""
			st.Parts = append(slices.Clone(st.Parts), "not enforced: "+q.status.Ref.String()+" comes before it and applies to the same pods")
			return st
		}
	}
	return st
}
