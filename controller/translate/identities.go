package translate

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/ambitmesh/ambit/internal/identity"
)

// runs counts, by node, the pods that have not ended, by identity.
type runs map[string]map[identity.ID]int

func (r runs) add(id identity.ID, p *corev1.Pod) {
	if p.Spec.NodeName == "" || ended(p) {
		return
	}
	if r[p.Spec.NodeName] == nil {
		r[p.Spec.NodeName] = map[identity.ID]int{}
	}
	r[p.Spec.NodeName][id]++
}

func (r runs) remove(id identity.ID, p *corev1.Pod) {
	ids := r[p.Spec.NodeName]
	if ids == nil || ended(p) {
		return
	}
	if ids[id]--; ids[id] <= 0 {
		delete(ids, id)
	}
	if len(ids) == 0 {
		delete(r, p.Spec.NodeName)
	}
}

func (o Options) identity(p *corev1.Pod) identity.ID {
	return identity.ID{TrustDomain: o.TrustDomain, Namespace: p.Namespace,
		ServiceAccount: cmp.Or(p.Spec.ServiceAccountName, defaultAccount)}
}

// RunsOn returns the identities of the pods on a node that have not ended: what the CA may sign for
// it. Sorted; the caller owns the slice.
func (m *Mesh) RunsOn(node string) []identity.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []identity.ID
	for id := range m.pods.runs[node] {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b identity.ID) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// Runs reports whether a pod of that identity that has not ended is on the node.
func (m *Mesh) Runs(node string, id identity.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return node != "" && m.pods.runs[node][id] > 0
}

// redirected is the annotation by which a node's agent says that it captures a pod, to every controller
// and to Istio's.
const redirected = "ambient.istio.io/redirection"

// Redirected returns the node of the pod whose workload has that uid, "" if there is none, and whether
// the pod says that it is captured there.
func (m *Mesh) Redirected(uid string) (node string, marked bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pods.byKey[m.pods.byUID[uid]]
	if p == nil {
		return "", false
	}
	return p.Spec.NodeName, p.Annotations[redirected] == "enabled" && !p.Spec.HostNetwork && !ended(p)
}

// NodeOfPod returns the node of a pod that has that uid as an object; "" if there is none.
func (m *Mesh) NodeOfPod(namespace, name, uid string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.pods.byKey[key{namespace, name}]; p != nil && string(p.UID) == uid {
		return p.Spec.NodeName
	}
	return ""
}
