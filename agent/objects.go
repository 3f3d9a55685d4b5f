package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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
	src  objects.Source
	node string
}

// NewWorld is the World of one node in a source of objects. Watch runs the source.
func NewWorld(src objects.Source, node string) World { return &objectsWorld{src, node} }

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
		if !cache.WaitForCacheSync(ctx.Done(), namespaces.HasSynced, pods.HasSynced, peers.HasSynced) {
			return nil // ctx ended
		}
		for {
			changed(w.view(namespaces, pods, peers))
			if !wait(ctx, poke) {
				return nil
			}
		}
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("watch objects: %w", err)
	}
	return nil
}

// wait returns after the next change and what follows at once, or false when ctx ends.
func wait(ctx context.Context, poke <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-poke:
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func onAny(poke chan<- struct{}) cache.ResourceEventHandler {
	f := func() {
		select {
		case poke <- struct{}{}:
		default:
		}
	}
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
