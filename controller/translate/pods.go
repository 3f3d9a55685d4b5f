package translate

import (
	"errors"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/objects"
)

// podIndex finds pods by what may make them stale.
type podIndex struct {
	byKey  map[key]*corev1.Pod
	byUID  map[string]key // the workload's uid, not the object's
	labels labelled
	byNode multimap[string, key]
	byHost multimap[host, key]
	runs   runs
}

// host is how an endpoint slice means a pod: by name, or by address where it was written by hand.
type host struct{ namespace, name, ip string }

func newPodIndex() podIndex {
	return podIndex{map[key]*corev1.Pod{}, map[string]key{}, newLabelled(), multimap[string, key]{},
		multimap[host, key]{}, runs{}}
}

// hostsOf returns all that a slice may call the pod.
func hostsOf(p *corev1.Pod) []host {
	if p == nil {
		return nil
	}
	out := []host{{namespace: p.Namespace, name: p.Name}}
	for _, ip := range podIPs(p) {
		out = append(out, host{namespace: p.Namespace, ip: ip.String()})
	}
	return out
}

// setPod replaces a pod; nil removes it.
func (m *Mesh) setPod(k key, p *corev1.Pod) {
	old := m.pods.byKey[k]
	if old != nil {
		m.unindexPod(k, old)
	}
	if p != nil {
		m.indexPod(k, p)
	}
	m.stale.pods.add(k)
	if before, after := hostsOf(old), hostsOf(p); !slices.Equal(before, after) {
		m.staleSlicesOf(before)
		m.staleSlicesOf(after)
	}
}

func (m *Mesh) indexPod(k key, p *corev1.Pod) {
	x := &m.pods
	x.byKey[k] = p
	x.byUID[m.opts.UID(k.namespace, k.name)] = k
	x.labels.add(k, p.Labels)
	x.byNode.add(p.Spec.NodeName, k)
	x.runs.add(m.opts.identity(p), p)
	for _, h := range hostsOf(p) {
		x.byHost.add(h, k)
	}
}

func (m *Mesh) unindexPod(k key, p *corev1.Pod) {
	x := &m.pods
	delete(x.byKey, k)
	delete(x.byUID, m.opts.UID(k.namespace, k.name))
	x.labels.remove(k, p.Labels)
	x.byNode.remove(p.Spec.NodeName, k)
	x.runs.remove(m.opts.identity(p), p)
	for _, h := range hostsOf(p) {
		x.byHost.remove(h, k)
	}
}

// stalePods marks the pods that a selector means.
func (m *Mesh) stalePods(namespace string, selector map[string]string) {
	for k := range m.pods.labels.candidates(namespace, selector) {
		if selects(selector, m.pods.byKey[k].Labels) {
			m.stale.pods.add(k)
		}
	}
}

// SetCaptured says whether the proxy of a node serves a pod. It counts only while the pod, named by
// the uid of its workload, is on that node: no node can announce another's pods.
func (m *Mesh) SetCaptured(node, uid string, captured bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	nodes := multimap[string, string](m.captured)
	if captured {
		nodes.add(uid, node)
	} else {
		nodes.remove(uid, node)
	}
	if k, ok := m.pods.byUID[uid]; ok {
		m.stale.pods.add(k)
	}
}

// setNode replaces a node; nil removes it. Its pods, and strangers that it hosts, have its locality.
func (m *Mesh) setNode(name string, n *corev1.Node) {
	m.setNodeIPs(m.nodes[name], n)
	if n == nil {
		delete(m.nodes, name)
	} else {
		m.nodes[name] = n
	}
	m.stale.pods.add(slices.Collect(maps.Keys(m.pods.byNode[name]))...)
	m.stale.slices.add(slices.Collect(maps.Keys(m.strangers))...)
}

func (m *Mesh) flushPods() error {
	todo := sortedKeys(m.stale.pods)
	clear(m.stale.pods)
	var errs []error
	for _, k := range todo {
		errs = append(errs, m.flushPod(k))
	}
	return errors.Join(errs...)
}

func (m *Mesh) flushPod(k key) error {
	uid, ref := m.opts.UID(k.namespace, k.name), Ref{objects.Pod, k.namespace, k.name}
	p := m.pods.byKey[k]
	if p == nil {
		m.out.remove(AddressType, uid)
		delete(m.status, ref)
		return nil
	}
	captured := m.captured[uid].has(p.Spec.NodeName)
	m.status[ref] = podStatus(ref, p, captured)
	w := m.opts.Workload(PodInput{
		Pod: p, Node: m.nodes[p.Spec.NodeName], Services: m.servicesOf(p), Policies: m.policiesOf(p),
		Captured: captured,
	})
	why := unsendable(w)
	if why != "" {
		m.status[ref] = Status{Ref: ref, Message: why}
	}
	if w == nil || why != "" {
		m.out.remove(AddressType, uid)
		return nil
	}
	return m.out.put(AddressType, uid, &workload.Address{Type: &workload.Address_Workload{Workload: w}})
}
