package translate

import (
	"errors"
	"slices"

	istiosecurity "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

// policyIndex finds policies by the pods whose records name them.
type policyIndex struct {
	byKey     map[key]*policy
	selectors selectors
}

func newPolicyIndex() policyIndex {
	return policyIndex{map[key]*policy{}, selectors{}}
}

// setPolicy replaces a policy; nil removes it. It is translated at once: if it cannot be understood,
// the last version that could be stays in force.
func (m *Mesh) setPolicy(k key, ap *istiosecurity.AuthorizationPolicy) {
	old := m.policies.byKey[k]
	var now *policy
	if ap != nil {
		now = m.opts.authorization(ap).unlessBad(old)
	}
	for _, p := range []*policy{old, now} {
		if p != nil && len(p.selector) > 0 {
			m.stalePods(m.selected(k.namespace), p.selector)
		}
	}
	if old != nil {
		m.policies.selectors.remove(k, old.selector)
		delete(m.policies.byKey, k)
	}
	if now != nil {
		m.policies.selectors.add(k, now.selector)
		m.policies.byKey[k] = now
	}
	m.stale.policies.add(k)
}

// selected returns the namespace in which a policy of that namespace selects pods: "" for all.
func (m *Mesh) selected(namespace string) string {
	if namespace == m.opts.RootNamespace {
		return ""
	}
	return namespace
}

// policiesOf returns the names of the policies that a pod's record must name, sorted.
func (m *Mesh) policiesOf(p *corev1.Pod) []string {
	names := m.peersOf(p)
	add := func(k key) {
		if pol := m.policies.byKey[k]; pol.message != nil && selects(pol.selector, p.Labels) {
			names = append(names, k.String())
		}
	}
	m.policies.selectors.candidates(p.Namespace, p.Labels, add)
	if p.Namespace != m.opts.RootNamespace {
		m.policies.selectors.candidates(m.opts.RootNamespace, p.Labels, add)
	}
	slices.Sort(names)
	return names
}

func (m *Mesh) flushPolicies() error {
	var errs []error
	for k := range m.stale.policies {
		ref := Ref{objects.AuthorizationPolicy, k.namespace, k.name}
		p := m.policies.byKey[k]
		if p == nil {
			delete(m.status, ref)
			m.out.remove(AuthorizationType, k.String())
			continue
		}
		m.status[ref] = p.status
		if p.message == nil {
			m.out.remove(AuthorizationType, k.String())
			continue
		}
		errs = append(errs, m.out.put(AuthorizationType, k.String(), p.message))
	}
	clear(m.stale.policies)
	return errors.Join(errs...)
}
