package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/sandbox"
	"github.com/ambitmesh/ambit/internal/objects"
)

const (
	lookSoon = 300 * time.Millisecond // while some pod's namespace is not known
	lookOnce = time.Second            // else: processes end without an event
	// tellTime is how long the objects get to tell of a pod that the container runtime told of.
	tellTime = 5 * time.Second
	// toldTime is how long it is believed what the container runtime told, if nothing else confirms it.
	toldTime = 5 * time.Minute
)

// KubeOptions are what a node of a cluster adds to its objects.
type KubeOptions struct {
	Finder *sandbox.Finder
	OnView func(View) // called with each view before the agent has it; nil: nobody
	Log    *slog.Logger
	Now    func() time.Time
}

// KubeWorld is the World of one node of a cluster. Where a pod is say its processes and the container
// runtime, never its object: anybody may write annotations.
type KubeWorld struct {
	objectsWorld
	o KubeOptions

	wake chan struct{}
	mu   sync.Mutex
	told map[string]*Told // by sandbox
	// Descriptors that the next view no longer names, and those that the view in force does not: only
	// these can be closed, for their numbers will be others'.
	dead, dying []*os.File
}

// Told is what the container runtime says of a sandbox that it sets up, before any process is in it.
type Told struct {
	Sandbox         string // the pod's UID as kubelet writes it
	Namespace, Name string
	Container       string   // the sandbox's id: a pod may have several, one after the other
	NetNS           *os.File // the world closes it
	Addresses       []netip.Addr

	at    time.Time
	inode uint64
}

// AgentKinds are the kinds that an agent reads. PeerAuthentications say where a port cannot be excluded.
func AgentKinds() []objects.Kind {
	return []objects.Kind{objects.Namespace, objects.Pod, objects.PeerAuthentication}
}

// NewKubeWorld returns the world of one node. Watch runs the source.
func NewKubeWorld(src objects.Source, node string, o KubeOptions) *KubeWorld {
	w := &KubeWorld{objectsWorld: objectsWorld{src: src, node: node}, o: o, wake: make(chan struct{}, 1), told: map[string]*Told{}}
	w.places = w
	return w
}

// Watch implements World.
func (w *KubeWorld) Watch(ctx context.Context, changed func(View)) error {
	defer w.forgetAll()
	return w.objectsWorld.Watch(ctx, func(v View) {
		if w.o.OnView != nil {
			w.o.OnView(v)
		}
		changed(v)
	})
}

// Tell notes a sandbox. It replaces an earlier one of the same pod.
func (w *KubeWorld) Tell(t Told) error {
	fi, err := netns.InodeOf(t.NetNS)
	if err != nil {
		return err
	}
	t.at, t.inode = w.o.Now(), fi
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(t.Sandbox)
	w.told[t.Sandbox] = &t
	signal(w.wake)
	return nil
}

// Forget drops what was told of a sandbox that is being taken down.
func (w *KubeWorld) Forget(sandbox, container string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.told[sandbox]; t != nil && t.Container == container {
		w.drop(sandbox)
		signal(w.wake)
	}
}

// Keep forgets all sandboxes but these.
func (w *KubeWorld) Keep(containers []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s, t := range w.told {
		if !slices.Contains(containers, t.Container) {
			w.drop(s)
			signal(w.wake)
		}
	}
}

// drop gives a descriptor up: kept open it would keep the namespace alive. Called with w.mu held.
func (w *KubeWorld) drop(sandbox string) {
	if t := w.told[sandbox]; t != nil {
		w.dead = append(w.dead, t.NetNS)
		delete(w.told, sandbox)
	}
}

// bury closes what the view in force does not name. Called with w.mu held.
func (w *KubeWorld) bury() {
	for _, f := range w.dying {
		if err := f.Close(); err != nil {
			w.o.Log.Warn("close network namespace", "error", err)
		}
	}
	w.dying, w.dead = w.dead, nil
}

func (w *KubeWorld) forgetAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.told {
		w.drop(s)
	}
	w.bury()
	w.bury()
}

func (w *KubeWorld) changes() <-chan struct{} { return w.wake }

// complete says where each pod is, and adds those that only the container runtime has told of.
func (w *KubeWorld) complete(v *View) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bury()
	var uids []string
	for _, p := range v.Pods {
		if !p.HostNetwork && !p.Finished {
			uids = append(uids, p.Sandbox)
		}
	}
	found, err := w.o.Finder.Find(uids)
	if err != nil {
		w.o.Log.Warn("find pods' processes", "error", err)
	}
	seen, again := map[string]bool{}, lookOnce
	if len(w.dying) > 0 {
		again = lookSoon
	}
	for i := range v.Pods {
		p := &v.Pods[i]
		seen[p.Sandbox] = true
		p.NetNS, p.Cgroup = found[p.Sandbox].Path, ""
		if t := w.told[p.Sandbox]; t != nil {
			w.believe(t, p, found[p.Sandbox])
		}
		if p.NetNS == "" && !p.HostNetwork && !p.Finished {
			again = lookSoon
		}
	}
	for _, s := range slices.Sorted(maps.Keys(w.told)) {
		t := w.told[s]
		if w.o.Now().Sub(t.at) > toldTime {
			w.drop(s)
		} else if !seen[s] {
			again = lookSoon
			w.invent(v, t)
		}
	}
	return again
}

// believe prefers what the runtime told until a process in the same namespace, and the object's own
// addresses, confirm it: processes and status may still be those of the pod's sandbox before.
func (w *KubeWorld) believe(t *Told, p *Pod, found sandbox.Place) {
	if found.Inode == t.inode && slices.Equal(p.Addresses, t.Addresses) {
		w.drop(t.Sandbox)
		return
	}
	if found.Inode != t.inode {
		p.NetNS = fmt.Sprintf("/proc/self/fd/%d", t.NetNS.Fd())
	}
	p.Addresses = t.Addresses
}

// invent adds a pod of which there is no object yet.
func (w *KubeWorld) invent(v *View, t *Told) {
	if w.o.Now().Sub(t.at) < tellTime {
		return // it comes in a moment, with labels and account
	}
	v.Pods = append(v.Pods, Pod{
		UID: t.Sandbox, Sandbox: t.Sandbox, Namespace: t.Namespace, Name: t.Name, Addresses: t.Addresses,
		NetNS: fmt.Sprintf("/proc/self/fd/%d", t.NetNS.Fd()), Partial: true,
	})
}

// sandboxOf is the name of a pod's sandbox: of a static pod, kubelet's own, not the API server's.
func sandboxOf(p *corev1.Pod, uid string) string {
	if hash := p.Annotations[corev1.MirrorPodAnnotationKey]; hash != "" {
		return hash
	}
	return uid
}
