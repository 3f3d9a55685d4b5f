package objects

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// calls are the API server's list and watch of one kind.
type calls interface {
	list(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// clients share one configuration. Kubernetes' own kinds travel as protobuf.
type clients struct {
	core, discovery rest.Interface
	codec           runtime.ParameterCodec
	meta            metadata.Interface
	dynamic         dynamic.Interface
}

func newClients(cfg *rest.Config) (c clients, err error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return c, fmt.Errorf("core kinds: %w", err)
	}
	if err := discoveryv1.AddToScheme(scheme); err != nil {
		return c, fmt.Errorf("discovery kinds: %w", err)
	}
	c.codec = runtime.NewParameterCodec(scheme)
	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	if c.core, err = typedClient(cfg, "/api", corev1.SchemeGroupVersion, codecs); err != nil {
		return c, err
	}
	if c.discovery, err = typedClient(cfg, "/apis", discoveryv1.SchemeGroupVersion, codecs); err != nil {
		return c, err
	}
	if c.meta, err = metadata.NewForConfig(cfg); err != nil {
		return c, fmt.Errorf("metadata client: %w", err)
	}
	if c.dynamic, err = dynamic.NewForConfig(cfg); err != nil {
		return c, fmt.Errorf("dynamic client: %w", err)
	}
	return c, nil
}

func typedClient(cfg *rest.Config, path string, gv schema.GroupVersion, codecs runtime.NegotiatedSerializer) (rest.Interface, error) {
	own := rest.CopyConfig(cfg)
	own.APIPath, own.GroupVersion, own.NegotiatedSerializer = path, &gv, codecs
	own.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	own.ContentType = "application/vnd.kubernetes.protobuf"
	c, err := rest.RESTClientFor(own)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", gv, err)
	}
	return c, nil
}

// calls chooses how a kind is read.
func (c clients) calls(kind Kind, sp spec, node string) calls {
	switch {
	case sp.proto:
		return newIstioCalls(c.dynamic, kind, sp)
	case kind == Namespace && node != "":
		return metadataCalls{c.meta.Resource(corev1.SchemeGroupVersion.WithResource(sp.resource))}
	}
	t := typedCalls{client: c.core, codec: c.codec, resource: sp.resource, list1: listOf(kind)}
	if kind == EndpointSlice {
		t.client = c.discovery
	}
	if kind == Pod && node != "" {
		t.field = "spec.nodeName=" + node
	}
	return t
}

func listOf(kind Kind) func() runtime.Object {
	switch kind {
	case Namespace:
		return func() runtime.Object { return &corev1.NamespaceList{} }
	case Node:
		return func() runtime.Object { return &corev1.NodeList{} }
	case Pod:
		return func() runtime.Object { return &corev1.PodList{} }
	case Service:
		return func() runtime.Object { return &corev1.ServiceList{} }
	case ServiceAccount:
		return func() runtime.Object { return &corev1.ServiceAccountList{} }
	case EndpointSlice:
		return func() runtime.Object { return &discoveryv1.EndpointSliceList{} }
	}
	return func() runtime.Object { return &metav1.List{} }
}

type typedCalls struct {
	client   rest.Interface
	codec    runtime.ParameterCodec
	resource string
	field    string // selector, or ""
	list1    func() runtime.Object
}

func (t typedCalls) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.FieldSelector = t.field
	into := t.list1()
	if err := t.client.Get().Resource(t.resource).VersionedParams(&o, t.codec).Do(ctx).Into(into); err != nil {
		return nil, err
	}
	return into, meta.EachListItem(into, func(obj runtime.Object) error { slim(obj); return nil })
}

func (t typedCalls) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.FieldSelector, o.Watch = t.field, true
	return t.client.Get().Resource(t.resource).VersionedParams(&o, t.codec).Watch(ctx)
}

// slim drops what nobody reads and what is often half of an object.
func slim(obj runtime.Object) {
	if o, ok := obj.(metav1.Object); ok {
		o.SetManagedFields(nil)
	}
}

// metadataCalls read namespaces without what is in them.
type metadataCalls struct{ client metadata.Getter }

func (m metadataCalls) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	got, err := m.client.List(ctx, o)
	if err != nil {
		return nil, err
	}
	out := &corev1.NamespaceList{ListMeta: got.ListMeta}
	for i := range got.Items {
		out.Items = append(out.Items, corev1.Namespace{ObjectMeta: got.Items[i].ObjectMeta})
		out.Items[i].ManagedFields = nil
	}
	return out, nil
}

func (m metadataCalls) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	w, err := m.client.Watch(ctx, o)
	if err != nil {
		return nil, err
	}
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		if p, ok := e.Object.(*metav1.PartialObjectMetadata); ok {
			e.Object = &corev1.Namespace{ObjectMeta: p.ObjectMeta}
		}
		return e, true
	}), nil
}

// resourceOf is a kind's path at one of its apiVersions.
func resourceOf(apiVersion, resource string) schema.GroupVersionResource {
	group, version, _ := strings.Cut(apiVersion, "/")
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}
