package pods

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/zds"
)

// ErrClosed says that the registry takes no more pods.
var ErrClosed = errors.New("the proxy is going away")

// Add serves a pod. The same pod with the same sockets again changes nothing but that it is no longer
// retiring; with new listeners these are served too, while the old ones' backlog drains; with another
// namespace, name or address it is another pod, and the old one ends. The descriptors are the
// registry's, also if it fails.
func (r *Registry) Add(p zds.Pod) error {
	next, err := r.entry(p)
	if err != nil {
		p.Sockets.Close()
		return fmt.Errorf("add pod %s: %w", p.UID, err)
	}
	r.mu.Lock()
	old := r.pods[p.UID]
	if old != nil && old.same(next) {
		defer r.mu.Unlock()
		return r.again(old, next)
	}
	r.mu.Unlock()
	if old != nil {
		r.await(r.remove(p.UID))
	}
	return r.serve(next)
}

// entry checks what came and makes an entry of it.
func (r *Registry) entry(p zds.Pod) (*entry, error) {
	ns, err := checkSockets(p.Sockets)
	if err != nil {
		return nil, err
	}
	id := identity.ID{TrustDomain: r.cfg.TrustDomain, Namespace: p.Namespace, ServiceAccount: p.ServiceAccount}
	if _, err := identity.Parse(id.String()); err != nil {
		return nil, err
	}
	pod := &engine.Pod{
		UID: p.UID, Workload: r.cfg.Cluster + "//Pod/" + p.Namespace + "/" + p.Name,
		Namespace: p.Namespace, Name: p.Name, ServiceAccount: p.ServiceAccount,
		Addrs: p.Addrs, Identity: id, Mark: p.Mark, Limits: engine.DefaultLimits(),
	}
	return &entry{pod: pod, sockets: p.Sockets, ns: ns, added: r.cfg.Now()}, nil
}

// same reports whether o is the same pod, whatever its listeners.
func (e *entry) same(o *entry) bool {
	a, b := e.pod, o.pod
	return e.ns == o.ns && a.Workload == b.Workload && a.Identity == b.Identity && a.Mark == b.Mark &&
		e.sockets.V6 == o.sockets.V6 && slices.Equal(a.Addrs, b.Addrs)
}

// again takes a served pod's sockets once more. Called with r.mu held.
func (r *Registry) again(e, o *entry) error {
	e.session = r.session
	keep, drop := e.sockets, o.sockets
	if !sameListeners(e.sockets, o.sockets) {
		if err := r.accept(e.pod, o.sockets); err != nil {
			o.sockets.Close()
			return fmt.Errorf("serve new listeners of pod %s: %w", e.pod.UID, err)
		}
		keep.Listeners, drop.Listeners = o.sockets.Listeners, e.sockets.Listeners
	}
	e.sockets = keep
	drop.Close()
	e.retiring = false
	e.pod.Leaving.Store(false)
	r.publish()
	return nil
}

// serve begins with a pod that is new.
func (r *Registry) serve(e *entry) error {
	ns, err := dup(e.sockets.NetNS)
	if err != nil {
		e.sockets.Close()
		return err
	}
	e.pod.NetNS = os.NewFile(uintptr(ns), "netns of "+e.pod.Namespace+"/"+e.pod.Name)
	r.cfg.Certs.Hold(e.pod.Identity)
	if err := r.enter(e); err != nil {
		r.end(e)
		return fmt.Errorf("serve pod %s/%s: %w", e.pod.Namespace, e.pod.Name, err)
	}
	r.cfg.Log.Info("pod is served", "namespace", e.pod.Namespace, "name", e.pod.Name, "uid", e.pod.UID, "identity", e.pod.Identity)
	return nil
}

func (r *Registry) enter(e *entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if err := r.accept(e.pod, e.sockets); err != nil {
		return err
	}
	e.session, e.order = r.session, r.next()
	r.pods[e.pod.UID] = e
	r.publish()
	return nil
}

func (r *Registry) next() (n uint64) {
	for _, e := range r.pods {
		n = max(n, e.order)
	}
	return n + 1
}

// accept gives the engine duplicates of the listeners.
func (r *Registry) accept(p *engine.Pod, s zds.Sockets) error {
	for i, slot := range zds.Slots(s.V6) {
		fd, err := dup(s.Listeners[i])
		if err != nil {
			return err
		}
		if err := r.cfg.Engine.Serve(engine.Listener{Pod: p, Kind: slot.Kind, FD: fd}); err != nil {
			return err
		}
	}
	return nil
}
