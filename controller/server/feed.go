package server

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ambitmesh/ambit/controller/translate"
	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/objects"
)

// feed carries objects and captures through the mesh into the cache. Events go into the mesh at once, for
// the CA; what follows from them is translated by one goroutine, a little later, together.
type feed struct {
	src      objects.Source
	mesh     *translate.Mesh
	options  translate.Options
	cache    *xds.Cache
	captures *xds.Captures
	claims   *claims
	log      *slog.Logger
	coalesce time.Duration

	wake chan struct{} // one token: something changed

	mu       sync.Mutex
	versions xds.Versions        // of what is in the mesh
	pods     map[string]struct{} // uids that came, went or moved

	announced map[string]string // uid to the node where it is captured; of the translating goroutine
}

func (f *feed) run(ctx context.Context) error {
	f.versions = xds.Versions{}
	for _, k := range objects.Kinds() {
		f.versions[string(k)] = f.src.Generation(k) // before the first read: what an empty kind stands at
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.src.Run(ctx) })
	var synced []cache.InformerSynced
	for _, k := range objects.Kinds() {
		inf, err := objects.Informer[objects.Object](f.src, k)
		if err != nil {
			return err
		}
		reg, err := inf.AddEventHandler(f.handler(k))
		if err != nil {
			return fmt.Errorf("follow %s: %w", k, err)
		}
		synced = append(synced, reg.HasSynced)
		g.Go(func() error { inf.RunWithContext(ctx); return nil })
	}
	g.Go(func() error { return f.translate(ctx, synced) })
	return g.Wait()
}

func (f *feed) handler(k objects.Kind) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.set(k, o) },
		UpdateFunc: func(_, o any) { f.set(k, o) },
		DeleteFunc: func(o any) { f.remove(k, o) },
	}
}

func (f *feed) set(k objects.Kind, o any) {
	obj, ok := o.(objects.Object)
	if !ok {
		return
	}
	if err := f.mesh.Set(obj); err != nil {
		f.log.Error("translate an object", "kind", k, "namespace", obj.GetNamespace(), "name", obj.GetName(), "error", err)
	}
	f.note(k, obj)
}

func (f *feed) remove(k objects.Kind, o any) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	obj, ok := o.(objects.Object)
	if !ok {
		return
	}
	f.mesh.Delete(translate.Ref{Kind: k, Namespace: obj.GetNamespace(), Name: obj.GetName()})
	if k == objects.Pod { // one of the same name that follows at once was never captured
		f.captures.Resolve(f.options.UID(obj.GetNamespace(), obj.GetName()), "")
	}
	f.note(k, obj)
}

// note remembers how far the mesh is, after the object is in it.
func (f *feed) note(k objects.Kind, obj objects.Object) {
	generation, err := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.versions[string(k)] = max(f.versions[string(k)], generation)
	}
	if p, ok := obj.(*corev1.Pod); ok {
		f.pods[f.options.UID(p.Namespace, p.Name)] = struct{}{}
	}
	select {
	case f.wake <- struct{}{}:
	default: // there is a token
	}
}

// translate begins when everything was read once, and then follows changes until ctx ends.
func (f *feed) translate(ctx context.Context, synced []cache.InformerSynced) error {
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil // ctx has ended
	}
	f.step()
	f.log.Info("read all objects", "workloads_and_services", f.cache.Len(xds.AddressType), "policies", f.cache.Len(xds.AuthorizationType))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		case <-f.captures.Changed():
		}
		if !pause(ctx, f.coalesce) {
			return nil
		}
		f.step()
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
