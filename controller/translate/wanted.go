package translate

import corev1 "k8s.io/api/core/v1"

const modeLabel = "istio.io/dataplane-mode"

func (m *Mesh) setMode(ns *corev1.Namespace) {
	delete(m.modes, ns.Name)
	if mode, ok := ns.Labels[modeLabel]; ok {
		m.modes[ns.Name] = mode
	}
}

// Wanted reports whether labels ask for a workload to be captured: the pod's own, else its namespace's. It
// is what the node's agent reads too. A workload that is not known is not wanted.
func (m *Mesh) Wanted(uid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pods.byKey[m.pods.byUID[uid]]
	if p == nil {
		return false
	}
	mode := p.Labels[modeLabel]
	if mode == "" {
		mode = m.modes[p.Namespace]
	}
	return mode == "ambient"
}
