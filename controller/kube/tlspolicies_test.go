package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestBackendTLSPoliciesAreToldTheTruth: a policy has an entry for each Gateway of ours by which routes lead
// to its Service, and others' entries stay.
func TestBackendTLSPoliciesAreToldTheTruth(t *testing.T) {
	route := func(name string, parent map[string]any, backends ...any) *unstructured.Unstructured {
		spec := attached(parent)
		spec["rules"] = []any{map[string]any{"backendRefs": backends}}
		return gateway("HTTPRoute", "shop", name, spec)
	}
	policy := func(namespace, name string, targets ...any) *unstructured.Unstructured {
		return gateway("BackendTLSPolicy", namespace, name, map[string]any{"targetRefs": targets})
	}
	to := func(name string) map[string]any { return ref(name, "group", "", "kind", "Service") }
	orders := policy("shop", "orders", to("orders"))
	orders.Object["status"] = entryOf("ancestors", "ancestorRef", otherController, ref("others"))
	cases := []struct {
		object *unstructured.Unstructured
		want   []string
	}{
		{orders, []string{otherController + " others: ", ours("edge"), ours("edge2")}},
		{policy("far", "stock", to("stock")), []string{ours("edge2")}},
		{policy("shop", "stock", to("stock")), nil}, // the namesake of another namespace
		{policy("shop", "others", to("theirs")), nil},
		{policy("shop", "mesh", to("meshed")), nil},
		{policy("shop", "kind", ref("orders", "group", "other.test", "kind", "Bucket")), nil},
	}
	w := newGatewayWorld(t, gateway("Gateway", "shop", "edge", ofClass("ambit")), gateway("Gateway", "shop", "edge2", ofClass("ambit")),
		gateway("Gateway", "shop", "others", ofClass("other")), gateway("ListenerSet", "shop", "more", map[string]any{"parentRef": ref("edge2")}),
		route("a", ref("edge"), ref("orders", "port", int64(443))), route("b", ref("edge2"), ref("orders"), ref("stock", "namespace", "far")),
		route("c", ref("others"), ref("theirs")), route("d", to("meshed"), ref("meshed")), route("e", ref("more", "kind", "ListenerSet"), ref("orders")))
	for _, x := range cases {
		if err := w.client.Tracker().Create(resource(x.object), x.object, x.object.GetNamespace()); err != nil {
			t.Fatal(err)
		}
	}
	w.round()
	for _, x := range cases {
		if diff := cmp.Diff(x.want, w.entries(x.object, ancestorEntries)); diff != "" {
			t.Errorf("%s/%s: %s", x.object.GetNamespace(), x.object.GetName(), diff)
		}
	}
	w.quiet()
}
