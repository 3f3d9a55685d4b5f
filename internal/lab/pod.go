package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"

	"sigs.k8s.io/yaml"
)

// PodSpec describes a pod. Namespace, Name and Node are required.
type PodSpec struct {
	Namespace, Name, Node string
	ServiceAccount        string // default "default"
	UID                   string // default unique
	Labels, Annotations   map[string]string
	V4Only, V6Only        bool
	V4, V6                netip.Addr // fixed addresses; default the node's next
	NotReady              bool
	Unwritten             bool // the pod exists on the node, the cluster does not know it
}

// Pod is a running pod.
type Pod struct {
	*Host
	Namespace, Name string
	UID             string
	Node            *Node
	V4, V6          netip.Addr // invalid: the pod has none of that family
	link            string     // the node's end of eth0

	mu   sync.Mutex
	spec PodSpec
	app  *App
	gone bool
}

// AddPod makes a pod and, unless it is Unwritten, tells the cluster of it.
func (l *Lab) AddPod(ctx context.Context, spec PodSpec) (*Pod, error) {
	p, err := l.addPod(spec)
	if err != nil {
		return nil, fmt.Errorf("add pod %s/%s: %w", spec.Namespace, spec.Name, err)
	}
	return p, ctx.Err()
}

func (l *Lab) addPod(spec PodSpec) (*Pod, error) {
	n := l.nodes[spec.Node]
	if n == nil {
		return nil, fmt.Errorf("no node %q", spec.Node)
	}
	l.mu.Lock()
	l.probe++
	number := l.probe
	_, taken := l.pods[spec.Namespace+"/"+spec.Name]
	l.mu.Unlock()
	if taken {
		return nil, errors.New("there is one already")
	}
	spec.UID = cmp.Or(spec.UID, fmt.Sprintf("%s-%d", spec.Name, number))
	spec.ServiceAccount = cmp.Or(spec.ServiceAccount, "default")
	spec.Labels, spec.Annotations = maps.Clone(spec.Labels), maps.Clone(spec.Annotations)
	h, err := l.newHost(fmt.Sprintf("%s-%s-%d", spec.Namespace, spec.Name, number), filepath.Join(n.Name, "pods", spec.UID))
	if err != nil {
		return nil, err
	}
	p := &Pod{Host: h, Namespace: spec.Namespace, Name: spec.Name, UID: spec.UID, Node: n, spec: spec}
	if err := p.connect(); err != nil {
		return nil, errors.Join(err, n.detach(p.link), h.ns.close())
	}
	l.mu.Lock()
	l.pods[p.FullName()] = p
	l.mu.Unlock()
	return p, p.write()
}

func (p *Pod) connect() error {
	v4, v6, link := p.Node.give()
	p.link = link
	if p.spec.V4.IsValid() {
		v4 = p.spec.V4
	}
	if p.spec.V6.IsValid() {
		v6 = p.spec.V6
	}
	if !p.spec.V6Only {
		p.V4 = v4
	}
	if !p.spec.V4Only {
		p.V6 = v6
	}
	return p.Node.attach(p.Host, link, p.Addresses()...)
}

// FullName is namespace/name.
func (p *Pod) FullName() string { return p.Namespace + "/" + p.Name }

// Addresses are the pod's, IPv4 first.
func (p *Pod) Addresses() []netip.Addr {
	var out []netip.Addr
	for _, a := range []netip.Addr{p.V4, p.V6} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// At is the pod's address of a family with a port, for example At(false, 80) is "10.1.0.11:80".
func (p *Pod) At(v6 bool, port int) string {
	a := p.V4
	if v6 {
		a = p.V6
	}
	return netip.AddrPortFrom(a, uint16(port)).String()
}

// Identity is the pod's SPIFFE identity.
func (p *Pod) Identity() string {
	return fmt.Sprintf("spiffe://%s/ns/%s/sa/%s", p.lab.opts.TrustDomain, p.spec.Namespace, p.spec.ServiceAccount)
}

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

// Forget tells the cluster that the pod is gone, and leaves it running.
func (p *Pod) Forget() error { return p.lab.Remove(p.object()) }

// Delete ends the pod's processes, takes its network away and tells the cluster.
func (p *Pod) Delete() error { return errors.Join(p.Vanish(), p.Forget()) }

// Vanish is Delete without a word to the cluster.
func (p *Pod) Vanish() error {
	p.mu.Lock()
	gone, app := p.gone, p.app
	p.gone = true
	p.mu.Unlock()
	if gone {
		return nil
	}
	p.lab.mu.Lock()
	delete(p.lab.pods, p.FullName())
	p.lab.mu.Unlock()
	errs := []error{removeCgroup(p.cgroup)}
	if app != nil {
		errs = append(errs, app.close())
	}
	return errors.Join(append(errs, p.Node.detach(p.link), p.ns.close())...)
}

// Pods are the running pods.
func (l *Lab) Pods() []*Pod {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.pods))
}

// Pod finds a pod; nil if there is none.
func (l *Lab) Pod(namespace, name string) *Pod {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pods[namespace+"/"+name]
}

func (l *Lab) closeApps() {
	for _, p := range l.Pods() {
		p.mu.Lock()
		if p.app != nil {
			p.app.close() // its process is killed next, whatever it says
		}
		p.mu.Unlock()
	}
}
