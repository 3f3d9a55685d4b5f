package objects

import (
	"context"
	"fmt"
	"reflect"

	"k8s.io/client-go/tools/cache"
)

// Source is where objects come from: a directory, or the API server.
type Source interface {
	// ListerWatcher returns the kind's list and watch calls, for an informer.
	ListerWatcher(Kind) (cache.ListerWatcher, error)
	// Run reads the source until ctx ends. Informers sync once the first read is done.
	Run(ctx context.Context) error
	// Problems returns what the source holds and cannot serve, in a stable order.
	Problems() []Problem
	// Generation returns the highest version of a kind's objects, deletions included. It never falls.
	Generation(Kind) uint64
}

// Problem is something that was refused, and why.
type Problem struct {
	File      string `json:"file"`
	Document  int    `json:"document,omitempty"` // from 1; 0 when the whole file was refused
	Kind      Kind   `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Reason    string `json:"reason"` // with the field's path where there is one
	// Standing says what is in force instead: "" nothing, "previous" the last good version,
	// "closed" a stand-in that allows nothing.
	Standing string `json:"standing,omitempty"`
}

// String returns the problem as one line.
func (p Problem) String() string {
	s := p.File
	if p.Document > 0 {
		s = fmt.Sprintf("%s, document %d", s, p.Document)
	}
	if p.Name != "" {
		s += fmt.Sprintf(" (%s %s)", p.Kind, keyOf(p.Namespace, p.Name))
	}
	return s + ": " + p.Reason
}

// Informer returns an informer of a kind's objects with the by-namespace index. T must be the kind's
// pointer type, such as *corev1.Pod. The caller runs it: inf.RunWithContext(ctx).
func Informer[T Object](src Source, kind Kind) (cache.SharedIndexInformer, error) {
	s, ok := registry[kind]
	if !ok {
		return nil, fmt.Errorf("informer: unknown kind %q", kind)
	}
	example := s.make()
	if _, ok := example.(T); !ok {
		return nil, fmt.Errorf("informer of %s: its type is %T, not %s", kind, example, reflect.TypeFor[T]())
	}
	lw, err := src.ListerWatcher(kind)
	if err != nil {
		return nil, fmt.Errorf("informer of %s: %w", kind, err)
	}
	inf := cache.NewSharedIndexInformer(lw, example, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	if l, ok := lw.(interface{ informerFailed(err error) }); ok {
		err := inf.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) { l.informerFailed(err) })
		if err != nil {
			return nil, fmt.Errorf("informer of %s: %w", kind, err)
		}
	}
	return inf, nil
}

// Lister reads an informer's objects. They are shared: never change one.
type Lister[T Object] struct{ indexer cache.Indexer }

// ListerOf returns the informer's lister.
func ListerOf[T Object](inf cache.SharedIndexInformer) Lister[T] {
	return Lister[T]{indexer: inf.GetIndexer()}
}

// Get returns the object; namespace is "" for kinds without one.
func (l Lister[T]) Get(namespace, name string) (T, bool) {
	obj, ok, err := l.indexer.GetByKey(keyOf(namespace, name))
	if err != nil || !ok {
		var zero T
		return zero, false
	}
	t, ok := obj.(T)
	return t, ok
}

// List returns all objects in no order.
func (l Lister[T]) List() []T { return typed[T](l.indexer.List()) }

// In returns the objects of a namespace in no order.
func (l Lister[T]) In(namespace string) []T {
	objs, err := l.indexer.ByIndex(cache.NamespaceIndex, namespace)
	if err != nil { // the index was replaced by the informer's owner: fall back to all
		objs = l.indexer.List()
	}
	list := typed[T](objs)
	if err == nil {
		return list
	}
	kept := list[:0]
	for _, o := range list {
		if o.GetNamespace() == namespace {
			kept = append(kept, o)
		}
	}
	return kept
}

func typed[T Object](objs []any) []T {
	list := make([]T, 0, len(objs))
	for _, o := range objs {
		if t, ok := o.(T); ok {
			list = append(list, t)
		}
	}
	return list
}

func keyOf(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}
