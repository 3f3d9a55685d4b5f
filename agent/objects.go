package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ambitmesh/ambit/internal/objects"
)

// settleTime joins a burst of changes into one view.
const settleTime = 20 * time.Millisecond

// objectsWorld reads the world from a source of objects.
type objectsWorld struct {
	src    objects.Source
	node   string
	places places // nil: the objects say where pods are
}

// places completes views with what objects do not say.
type places interface {
	// complete changes v, which is nobody's yet, and says when to look again although nothing changed.
	complete(v *View) (again time.Duration)
	// changes is sent to when complete would say something else.
	changes() <-chan struct{}
}

// peersTime is how long the first view waits for PeerAuthentications if they cannot be read.
const peersTime = 10 * time.Second

// NewWorld is the World of one node in a source of objects. Watch runs the source.
func NewWorld(src objects.Source, node string) World { return &objectsWorld{src: src, node: node} }

// Watch implements World.
func (w *objectsWorld) Watch(ctx context.Context, changed func(View)) error {
	namespaces, err := objects.Informer[*corev1.Namespace](w.src, objects.Namespace)
	if err != nil {
		return fmt.Errorf("watch namespaces: %w", err)
	}
	pods, err := objects.Informer[*corev1.Pod](w.src, objects.Pod)
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	peers, err := objects.Informer[*security.PeerAuthentication](w.src, objects.PeerAuthentication)
	if err != nil {
		return fmt.Errorf("watch peer authentications: %w", err)
	}
	poke := make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	for _, inf := range []cache.SharedIndexInformer{namespaces, pods, peers} {
		if _, err := inf.AddEventHandler(onAny(poke)); err != nil {
			return fmt.Errorf("watch objects: %w", err)
		}
		g.Go(func() error { inf.RunWithContext(ctx); return nil })
	}
	g.Go(func() error { return w.src.Run(ctx) })
	g.Go(func() error {
		if !cache.WaitForCacheSync(ctx.Done(), namespaces.HasSynced, pods.HasSynced) {
			return nil // ctx ended
		}
		w.awaitPeers(ctx, peers.HasSynced)
		w.follow(ctx, poke, changed, func() View {
			v := w.view(namespaces, pods, peers)
			v.Blind = !peers.HasSynced()
			return v
		})
		return nil
	})
	g.Go(func() error { // an empty list makes no event
		if cache.WaitForCacheSync(ctx.Done(), peers.HasSynced) {
			signal(poke)
		}
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("watch objects: %w", err)
	}
	return nil
}

// awaitPeers gives PeerAuthentications some time: without them any pod may be STRICT, and a port that
// was excluded before would not be.
func (w *objectsWorld) awaitPeers(ctx context.Context, synced cache.InformerSynced) {
	ctx, cancel := context.WithTimeout(ctx, peersTime)
	defer cancel()
	cache.WaitForCacheSync(ctx.Done(), synced)
}

// follow reports the view at once and after each change, until ctx ends.
func (w *objectsWorld) follow(ctx context.Context, poke <-chan struct{}, changed func(View), view func() View) {
	var last View
	for first := true; ; first = false {
		v := view()
		var again <-chan time.Time
		var places <-chan struct{}
		if w.places != nil {
			again, places = time.After(w.places.complete(&v)), w.places.changes()
		}
		if first || !reflect.DeepEqual(v, last) {
			changed(v)
			last = v
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
			continue
		case <-places:
			continue
		case <-poke:
		}
		select { // a burst makes one view
		case <-ctx.Done():
			return
		case <-time.After(settleTime):
		}
	}
}

// signal leaves a token; one is enough.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func onAny(poke chan<- struct{}) cache.ResourceEventHandler {
	f := func() { signal(poke) }
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { f() },
		UpdateFunc: func(any, any) { f() },
		DeleteFunc: func(any) { f() },
	}
}

func (w *objectsWorld) view(namespaces, pods, peers cache.SharedIndexInformer) View {
	v := View{Namespaces: map[string]Namespace{}}
	for _, ns := range objects.ListerOf[*corev1.Namespace](namespaces).List() {
		v.Namespaces[ns.Name] = Namespace{Labels: ns.Labels, Annotations: ns.Annotations}
	}
	for _, p := range objects.ListerOf[*corev1.Pod](pods).List() {
		if p.Spec.NodeName == w.node {
			v.Pods = append(v.Pods, podOf(p))
		}
	}
	for _, p := range objects.ListerOf[*security.PeerAuthentication](peers).List() {
		v.Peers = append(v.Peers, peerOf(p))
	}
	slices.SortFunc(v.Pods, func(a, b Pod) int { return strings.Compare(a.UID, b.UID) })
	slices.SortFunc(v.Peers, func(a, b Peer) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return v
}

// podOf reads what counts of a pod. Without a uid (standalone) the name stands for it.
func podOf(p *corev1.Pod) Pod {
	out := Pod{
		UID: string(p.UID), Namespace: p.Namespace, Name: p.Name, ServiceAccount: p.Spec.ServiceAccountName,
		Labels: p.Labels, Annotations: p.Annotations, HostNetwork: p.Spec.HostNetwork,
		Finished: p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
		NetNS:    p.Annotations[annotationNetNS], Cgroup: p.Annotations[annotationCgroup],
	}
	if out.UID == "" {
		out.UID = p.Namespace + "/" + p.Name
	}
	out.Sandbox = sandboxOf(p, out.UID)
	if out.ServiceAccount == "" {
		out.ServiceAccount = "default"
	}
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			out.Addresses = append(out.Addresses, a)
		}
	}
	return out
}
