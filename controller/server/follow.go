package server

import (
	"context"
	"math"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/ambitmesh/ambit/internal/objects"
)

// follower takes one kind's objects into the mesh in the very goroutine that reads them: what it has
// reached is in the mesh. It is a cache.ReflectorStore without a store.
type follower struct {
	feed   *feed
	kind   objects.Kind
	synced chan struct{} // closed once all was read
	once   sync.Once
	there  map[types.NamespacedName]string // resourceVersions; of the reading goroutine

	mu      sync.Mutex
	again   context.CancelFunc // reads anew
	since   time.Time          // of the last again
	atLeast uint64             // the version that a list must not be older than
}

func newFollower(f *feed, k objects.Kind) *follower {
	return &follower{feed: f, kind: k, synced: make(chan struct{}), there: map[types.NamespacedName]string{}}
}

// run follows the kind until ctx ends.
func (w *follower) run(ctx context.Context, lw cache.ListerWatcher) {
	for ctx.Err() == nil {
		once, cancel := context.WithCancel(ctx)
		w.mu.Lock()
		w.again = cancel
		source := atLeast{lw, w.atLeast}
		w.mu.Unlock()
		cache.NewReflectorWithOptions(source, nil, w, cache.ReflectorOptions{Name: string(w.kind)}).RunWithContext(once)
		cancel()
	}
}

// readAnew lists the kind at that version or a later one, unless it was done a moment ago.
func (w *follower) readAnew(version uint64, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.again == nil || now.Sub(w.since) < 2*time.Second {
		return
	}
	w.since, w.atLeast = now, max(w.atLeast, version)
	w.again()
}

// Add implements cache.ReflectorStore.
func (w *follower) Add(o any) error { return w.Update(o) }

// Update implements cache.ReflectorStore.
func (w *follower) Update(o any) error {
	if obj, ok := o.(objects.Object); ok {
		w.there[nameOf(obj)] = obj.GetResourceVersion()
		w.feed.set(w.kind, obj)
		w.feed.note(w.kind, obj.GetResourceVersion(), true)
	}
	return nil
}

// Delete implements cache.ReflectorStore.
func (w *follower) Delete(o any) error {
	if obj, ok := o.(objects.Object); ok {
		delete(w.there, nameOf(obj))
		w.feed.remove(w.kind, nameOf(obj))
		w.feed.note(w.kind, obj.GetResourceVersion(), true)
	}
	return nil
}

// Replace implements cache.ReflectorStore: what was not listed is gone.
func (w *follower) Replace(list []any, version string) error {
	before := w.there
	w.there = make(map[types.NamespacedName]string, len(list))
	for _, o := range list {
		obj, ok := o.(objects.Object)
		if !ok {
			continue
		}
		name, have := nameOf(obj), obj.GetResourceVersion()
		w.there[name] = have
		if was, known := before[name]; !known || was != have || have == "" {
			w.feed.set(w.kind, obj)
		}
	}
	for name := range before {
		if _, ok := w.there[name]; !ok {
			w.feed.remove(w.kind, name)
		}
	}
	w.feed.note(w.kind, version, true)
	w.once.Do(func() { close(w.synced) })
	return nil
}

// Bookmark implements cache.ReflectorBookmarkStore: nothing changed up to that version.
func (w *follower) Bookmark(version string) error {
	w.feed.note(w.kind, version, false)
	return nil
}

// Resync implements cache.ReflectorStore.
func (w *follower) Resync() error { return nil }

func nameOf(o objects.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// note remembers how far the mesh is: by what it was made from, or only by what is known to be unchanged.
func (f *feed) note(k objects.Kind, version string, made bool) {
	generation, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return // opaque versions cannot be compared
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if made {
		f.versions[string(k)] = max(f.versions[string(k)], generation)
	}
	switch was := f.reached[string(k)]; {
	case f.cluster && generation == 0: // there is no such kind now, so nothing of it can be old
		f.reached[string(k)] = math.MaxUint64
	case was == math.MaxUint64:
		f.reached[string(k)] = generation
	default:
		f.reached[string(k)] = max(was, generation)
	}
	f.poke()
}

// atLeast does not list older than a version.
type atLeast struct {
	cache.ListerWatcher

	version uint64
}

// IsWatchListSemanticsUnSupported tells client-go to list, then watch.
func (atLeast) IsWatchListSemanticsUnSupported() bool { return true }

// ListWithContext implements cache.ListerWithContext.
func (a atLeast) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	if have, err := strconv.ParseUint(o.ResourceVersion, 10, 64); err == nil && have < a.version {
		o.ResourceVersion, o.ResourceVersionMatch = strconv.FormatUint(a.version, 10), metav1.ResourceVersionMatchNotOlderThan
		o.Limit, o.Continue = 0, ""
	}
	return cache.ToListerWithContext(a.ListerWatcher).ListWithContext(ctx, o)
}

// WatchWithContext implements cache.WatcherWithContext.
func (a atLeast) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return cache.ToWatcherWithContext(a.ListerWatcher).WatchWithContext(ctx, o)
}
