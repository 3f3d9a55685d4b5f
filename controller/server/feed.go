package server

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

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

	wake      chan struct{} // one token: something changed
	stepped   chan struct{} // one token: what became of objects may differ
	cluster   bool          // objects are a cluster's: marks count, and a kind can be read anew
	followers map[objects.Kind]*follower

	mu       sync.Mutex
	versions xds.Versions        // of what the mesh was made from
	reached  xds.Versions        // up to which it is known to be unchanged
	pods     map[string]struct{} // uids that came, went or moved
	birth    string              // tells this cluster from another at the same place; "" without

	announced map[string]string // uid to the node where it is captured; of the translating goroutine
}

func (f *feed) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.src.Run(ctx) })
	for k, w := range f.followers {
		lw, err := f.src.ListerWatcher(k)
		if err != nil {
			return fmt.Errorf("follow %s: %w", k, err)
		}
		g.Go(func() error { w.run(ctx, lw); return nil })
	}
	g.Go(func() error { return f.translate(ctx) })
	return g.Wait()
}

// look reads those kinds anew of which a proxy has seen more than is known here.
func (f *feed) look(seen xds.Versions) {
	if !f.cluster {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	reached := f.reached
	for kind, w := range f.followers {
		if version := seen[f.named(kind)]; reached[string(kind)] < version {
			w.readAnew(version, time.Now())
		}
	}
}

func (f *feed) set(k objects.Kind, obj objects.Object) {
	if err := f.mesh.Set(obj); err != nil {
		f.log.Error("translate an object", "kind", k, "namespace", obj.GetNamespace(), "name", obj.GetName(), "error", err)
	}
	if f.cluster && k == objects.Namespace && obj.GetName() == "kube-system" {
		f.born(string(obj.GetUID()))
	}
	f.changed(k, nameOf(obj))
}

// born remembers what nothing but a new cluster changes.
func (f *feed) born(uid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.birth, _, _ = strings.Cut(uid, "-")
}

// named is a kind's name in versions. Those of another cluster, which a proxy on the same machine may have
// kept, are of other kinds, so that they are compared with none here. Called with f.mu held.
func (f *feed) named(k objects.Kind) string {
	if f.birth == "" {
		return string(k)
	}
	return string(k) + "@" + f.birth
}

func (f *feed) versionsNamed(v xds.Versions) xds.Versions {
	out := make(xds.Versions, len(v))
	for k, g := range v {
		out[f.named(objects.Kind(k))] = g
	}
	return out
}

func (f *feed) remove(k objects.Kind, name types.NamespacedName) {
	f.mesh.Delete(translate.Ref{Kind: k, Namespace: name.Namespace, Name: name.Name})
	if k == objects.Pod { // one of the same name that follows at once was never captured
		f.captures.Resolve(f.options.UID(name.Namespace, name.Name), "", false)
	}
	f.changed(k, name)
}

func (f *feed) changed(k objects.Kind, name types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k == objects.Pod {
		f.pods[f.options.UID(name.Namespace, name.Name)] = struct{}{}
	}
	f.poke()
}

func (f *feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default: // there is a token
	}
}

// translate begins when everything was read once, and then follows changes until ctx ends.
func (f *feed) translate(ctx context.Context) error {
	for _, w := range f.followers {
		select {
		case <-w.synced:
		case <-ctx.Done():
			return nil
		}
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
