package lab

import (
	"fmt"
	"maps"

	"sigs.k8s.io/yaml"
)

// Label sets one label of the pod, or takes it away with an empty value.
func (p *Pod) Label(key, value string) error {
	return p.change(func(s *PodSpec) { s.Labels = with(s.Labels, key, value) })
}

// Annotate sets or takes away one annotation.
func (p *Pod) Annotate(key, value string) error {
	return p.change(func(s *PodSpec) { s.Annotations = with(s.Annotations, key, value) })
}

// SetReady makes the pod an endpoint of its services or not.
func (p *Pod) SetReady(yes bool) error { return p.change(func(s *PodSpec) { s.NotReady = !yes }) }

func with(m map[string]string, key, value string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	set(out, key, value)
	return out
}

func (p *Pod) change(f func(*PodSpec)) error {
	p.mu.Lock()
	f(&p.spec)
	p.mu.Unlock()
	return p.write()
}

func (p *Pod) object() string { return "pod-" + p.spec.Namespace + "-" + p.spec.Name }

// write tells the cluster what the pod is.
func (p *Pod) write() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spec.Unwritten {
		return nil
	}
	s := p.spec
	ready := "True"
	if s.NotReady {
		ready = "False"
	}
	notes := with(s.Annotations, "ambit.dev/netns", p.NetNS())
	notes["ambit.dev/cgroup"] = p.Cgroup()
	var ips []any
	for _, a := range p.Addresses() {
		ips = append(ips, map[string]any{"ip": a.String()})
	}
	b, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": s.Name, "namespace": s.Namespace, "uid": s.UID, "labels": s.Labels, "annotations": notes},
		"spec": map[string]any{"nodeName": s.Node, "serviceAccountName": s.ServiceAccount,
			"containers": []any{map[string]any{"name": "app", "image": "lab"}}},
		"status": map[string]any{"phase": "Running", "podIP": p.Addresses()[0].String(), "podIPs": ips,
			"conditions": []any{map[string]any{"type": "Ready", "status": ready}}},
	})
	if err != nil {
		return fmt.Errorf("describe pod %s: %w", p.FullName(), err)
	}
	return p.lab.Apply(p.object(), string(b))
}
