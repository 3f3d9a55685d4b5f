package objects

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// istioCalls read one of Istio's kinds as JSON and decode it strictly.
type istioCalls struct {
	client dynamic.Interface
	kind   Kind
	spec   spec

	mu      sync.Mutex
	version int               // which of spec.versions the API server has
	good    map[string]Object // last version of each object that was understood
	refused map[string]Problem
}

func newIstioCalls(c dynamic.Interface, kind Kind, sp spec) *istioCalls {
	return &istioCalls{client: c, kind: kind, spec: sp, good: map[string]Object{}, refused: map[string]Problem{}}
}

func (i *istioCalls) resource() dynamic.ResourceInterface {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.client.Resource(resourceOf(i.spec.versions[i.version], i.spec.resource))
}

// list asks for the newest version that the API server has; without any the error is NotFound.
func (i *istioCalls) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.Limit, o.Continue = 0, "" // the whole list at once: what is not in it is gone
	var err error
	for n := range i.spec.versions {
		i.mu.Lock()
		i.version = n
		i.mu.Unlock()
		var got *unstructured.UnstructuredList
		if got, err = i.resource().List(ctx, o); err == nil {
			return i.decodeList(got), nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return nil, err
}

func (i *istioCalls) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	w, err := i.resource().Watch(ctx, o)
	if err != nil {
		return nil, err
	}
	return watch.Filter(w, i.decodeEvent), nil
}

func (i *istioCalls) decodeList(got *unstructured.UnstructuredList) runtime.Object {
	out := &metav1.List{ListMeta: metav1.ListMeta{ResourceVersion: got.GetResourceVersion()}}
	seen := map[string]bool{}
	for n := range got.Items {
		seen[keyOf(got.Items[n].GetNamespace(), got.Items[n].GetName())] = true
		if obj := i.decode(&got.Items[n]); obj != nil {
			out.Items = append(out.Items, runtime.RawExtension{Object: obj})
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for key := range i.good {
		if !seen[key] {
			delete(i.good, key)
		}
	}
	for key := range i.refused {
		if !seen[key] {
			delete(i.refused, key)
		}
	}
	return out
}

func (i *istioCalls) decodeEvent(e watch.Event) (watch.Event, bool) {
	u, ok := e.Object.(*unstructured.Unstructured)
	if !ok {
		return e, true // a Status
	}
	switch e.Type {
	case watch.Bookmark:
		e.Object = i.bare(u)
	case watch.Deleted:
		e.Object = i.forget(u)
	default:
		obj := i.decode(u)
		if obj == nil { // nothing to serve, but the version was seen
			return watch.Event{Type: watch.Bookmark, Object: i.bare(u)}, true
		}
		e.Object = obj
	}
	return e, true
}

// decode returns what is to be served for an object: itself, its previous version, its stand-in, or nil.
func (i *istioCalls) decode(u *unstructured.Unstructured) Object {
	doc := i.strict(u)
	key := keyOf(u.GetNamespace(), u.GetName())
	i.mu.Lock()
	defer i.mu.Unlock()
	if doc.Err == nil {
		doc.Object.SetManagedFields(nil)
		i.good[key] = doc.Object
		delete(i.refused, key)
		return doc.Object
	}
	p := Problem{File: apiServer, Kind: i.kind, Namespace: u.GetNamespace(), Name: u.GetName(), Reason: oneLine(doc.Err)}
	obj := doc.StandIn
	if obj != nil {
		obj.SetUID(u.GetUID())
		obj.SetCreationTimestamp(u.GetCreationTimestamp())
		p.Standing = "closed"
	}
	// One that was deleted and made anew while nobody watched is another object.
	if old := i.good[key]; old != nil && old.GetUID() == u.GetUID() {
		if last, ok := old.DeepCopyObject().(Object); ok {
			obj, p.Standing = last, "previous"
		}
	}
	i.refused[key] = p
	if obj != nil {
		obj.SetResourceVersion(u.GetResourceVersion())
	}
	return obj
}

// strict decodes as a directory's documents are. Of the metadata, which the API server has checked and
// which may have fields newer than this program, only the known part is looked at.
func (i *istioCalls) strict(u *unstructured.Unstructured) Document {
	h := header{APIVersion: u.GetAPIVersion(), Kind: i.kind}
	h.Metadata.Namespace, h.Metadata.Name = u.GetNamespace(), u.GetName()
	fields := map[string]any{}
	maps.Copy(fields, u.Object)
	delete(fields, "status")
	bare := i.bare(u)
	meta := metav1.ObjectMeta{}
	if acc, ok := bare.(metav1.ObjectMetaAccessor); ok {
		if o, ok := acc.GetObjectMeta().(*metav1.ObjectMeta); ok {
			meta = *o
		}
	}
	fields["metadata"] = meta
	js, err := json.Marshal(fields)
	if err != nil {
		return Document{Kind: i.kind, Err: fmt.Errorf("encode: %w", err)}
	}
	return decodeObject(js, h)
}

// bare is an object with nothing but its metadata.
func (i *istioCalls) bare(u *unstructured.Unstructured) Object {
	obj := i.spec.make()
	obj.SetNamespace(u.GetNamespace())
	obj.SetName(u.GetName())
	obj.SetUID(u.GetUID())
	obj.SetResourceVersion(u.GetResourceVersion())
	obj.SetGeneration(u.GetGeneration())
	obj.SetCreationTimestamp(u.GetCreationTimestamp())
	obj.SetDeletionTimestamp(u.GetDeletionTimestamp())
	obj.SetLabels(u.GetLabels())
	obj.SetAnnotations(u.GetAnnotations())
	obj.SetOwnerReferences(u.GetOwnerReferences())
	obj.SetFinalizers(u.GetFinalizers())
	return obj
}

// forget returns the last state of a deleted object, which was served even if it cannot be read.
func (i *istioCalls) forget(u *unstructured.Unstructured) Object {
	key := keyOf(u.GetNamespace(), u.GetName())
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.good, key)
	delete(i.refused, key)
	return i.bare(u)
}

func (i *istioCalls) problems() []Problem {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := make([]Problem, 0, len(i.refused))
	for _, p := range i.refused {
		all = append(all, p)
	}
	return all
}
