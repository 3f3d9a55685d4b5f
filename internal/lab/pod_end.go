package lab

import (
	"errors"
	"maps"
	"slices"
)

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
