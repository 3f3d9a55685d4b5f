package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"sync"
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
