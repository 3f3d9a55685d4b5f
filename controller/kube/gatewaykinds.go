package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

const gatewayGroup = "gateway.networking.k8s.io"

// gatewayKind is a kind of Gateway API. What is read and written here is alike in all its versions.
type gatewayKind struct {
	resource string
	versions []string // that a cluster may serve, the best first
}

var (
	gatewayClasses = gatewayKind{"gatewayclasses", []string{"v1", "v1beta1"}}
	gateways       = gatewayKind{"gateways", []string{"v1", "v1beta1"}}
	listenerSets   = gatewayKind{"listenersets", []string{"v1"}}
	tlsPolicies    = gatewayKind{"backendtlspolicies", []string{"v1", "v1alpha3"}}

	routeKinds = []gatewayKind{
		{"httproutes", []string{"v1", "v1beta1"}},
		{"grpcroutes", []string{"v1", "v1alpha2"}},
		{"tlsroutes", []string{"v1", "v1alpha3", "v1alpha2"}},
		{"tcproutes", []string{"v1", "v1alpha2"}},
		{"udproutes", []string{"v1", "v1alpha2"}},
	}
)

func (k gatewayKind) in(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: gatewayGroup, Version: version, Resource: k.resource}
}

// object is one of Gateway API, with a client for its kind in the version that it was listed in.
type object struct {
	*unstructured.Unstructured
	client dynamic.ResourceInterface
}

// list returns a kind's objects; a kind that is not served has none. The API server's cache is enough.
func (l *look) list(ctx context.Context, k gatewayKind) ([]object, error) {
	for _, version := range k.versions {
		client := l.Client.Resource(k.in(version))
		all, err := client.List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", k.resource, err)
		}
		out := make([]object, 0, len(all.Items))
		for i := range all.Items {
			x := &all.Items[i]
			out = append(out, object{x, client.Namespace(x.GetNamespace())})
		}
		return out, nil
	}
	return nil, nil
}

// condition is one that an object gets.
type condition struct {
	kind string
	verdict
}

// judge gives an object these conditions.
func (l *look) judge(ctx context.Context, x object, want ...condition) {
	all, differs := conditionsOf(x.Unstructured), false
	for _, c := range want {
		var changed bool
		all, changed = merge(all, c.kind, c.verdict, x.GetGeneration(), l.Now())
		differs = differs || changed
	}
	if differs {
		l.write(ctx, x, "conditions", all)
	}
}

// write replaces a list in an object's status.
func (l *look) write(ctx context.Context, x object, field string, list []any) {
	if err := patch(ctx, x.client, x.Unstructured, field, list); err != nil {
		l.failed = append(l.failed, fmt.Errorf("%s %s/%s: %w", x.GetKind(), x.GetNamespace(), x.GetName(), err))
	}
}
