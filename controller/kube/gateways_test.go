package kube

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

// allKinds are those that Gateways looks at, with their kinds.
func allKinds() map[string]gatewayKind {
	all := map[string]gatewayKind{"GatewayClass": gatewayClasses, "Gateway": gateways, "ListenerSet": listenerSets, "BackendTLSPolicy": tlsPolicies}
	for i, kind := range []string{"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"} {
		all[kind] = routeKinds[i]
	}
	return all
}

// gatewayLists is what the fake client needs to know.
func gatewayLists() map[schema.GroupVersionResource]string {
	lists := map[schema.GroupVersionResource]string{}
	for kind, k := range allKinds() {
		for _, version := range k.versions {
			lists[k.in(version)] = kind + "List"
		}
	}
	return lists
}

// gatewayWorld is Gateway API in a fake cluster.
type gatewayWorld struct {
	*testing.T
	client *dynamicfake.FakeDynamicClient
	g      *Gateways
}

// newGatewayWorld serves every kind in the version that its object here has, else in the best.
func newGatewayWorld(t *testing.T, objects ...*unstructured.Unstructured) gatewayWorld {
	t.Helper()
	w := gatewayWorld{t, dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), gatewayLists()), nil}
	w.g = &Gateways{Client: w.client, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Unix(1e9, 0) }, Version: "v1.2.3"}
	for _, x := range objects {
		if err := w.client.Tracker().Create(resource(x), x, x.GetNamespace()); err != nil { // the fake does not guess all plurals
			t.Fatal(err)
		}
	}
	return w
}

func resource(x *unstructured.Unstructured) schema.GroupVersionResource {
	return allKinds()[x.GetKind()].in(x.GroupVersionKind().Version)
}

// unserve lets lists of these fail as an API server's do that has no such definition, or another version.
func (w gatewayWorld) unserve(all ...schema.GroupVersionResource) {
	for _, gvr := range all {
		w.fail("list", gvr, apierrors.NewNotFound(gvr.GroupResource(), ""))
	}
}

func (w gatewayWorld) fail(verb string, gvr schema.GroupVersionResource, err error) {
	w.client.PrependReactor(verb, gvr.Resource, func(a clienttesting.Action) (bool, runtime.Object, error) {
		return a.GetResource() == gvr, nil, err
	})
}

func (w gatewayWorld) round() {
	w.Helper()
	if err := w.g.round(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// quiet says that another round writes nothing.
func (w gatewayWorld) quiet() {
	w.Helper()
	w.client.ClearActions()
	w.round()
	for _, a := range w.client.Actions() {
		if a.GetVerb() != "list" {
			w.Errorf("written without need: %s %s", a.GetVerb(), a.GetResource().Resource)
		}
	}
}

// now is an object as it is by now.
func (w gatewayWorld) now(x *unstructured.Unstructured) *unstructured.Unstructured {
	w.Helper()
	u, err := w.client.Resource(resource(x)).Namespace(x.GetNamespace()).Get(w.Context(), x.GetName(), metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

// said are an object's conditions in short.
func (w gatewayWorld) said(x *unstructured.Unstructured) []string {
	w.Helper()
	return inShort(conditionsOf(w.now(x)))
}

func inShort(conditions []any) (out []string) {
	for _, x := range conditions {
		if m, ok := x.(map[string]any); ok {
			out = append(out, fmt.Sprint(m["type"], " ", m["status"], " ", m["reason"], " ", number(m["observedGeneration"])))
		}
	}
	return out
}

// gateway makes an object of Gateway API, of its third generation.
func gateway(kind, namespace, name string, spec map[string]any, conditions ...any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "spec": spec,
		"metadata": map[string]any{"name": name, "generation": int64(3), "resourceVersion": "7"}}}
	if namespace != "" {
		u.SetNamespace(namespace)
	}
	if len(conditions) > 0 {
		u.Object["status"] = map[string]any{"conditions": conditions}
	}
	return u
}

func ofClass(name string) map[string]any { return map[string]any{"gatewayClassName": name} }

func pending(kind string) map[string]any {
	return map[string]any{"type": kind, "status": "Unknown", "reason": "Pending", "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"}
}

// TestGatewaysAreToldTheTruth: who asks for us is told that nothing is done; others are left alone.
func TestGatewaysAreToldTheTruth(t *testing.T) {
	by := func(name string) map[string]any { return map[string]any{"controllerName": name} }
	of := func(name string) map[string]any { return map[string]any{"parentRef": map[string]any{"name": name}} }
	no := []string{"Accepted False NotSupported 3", "Programmed False NotSupported 3"}
	no2 := []string{"Accepted False ParentNotAccepted 3", "Programmed False ParentNotProgrammed 3"}
	cases := []struct {
		object *unstructured.Unstructured
		want   []string
	}{
		{gateway("GatewayClass", "", "mine", by(GatewayController), pending("Accepted")), []string{"Accepted False Unsupported 3"}},
		{gateway("GatewayClass", "", "ambit-waypoint", by("other.test/controller")), nil},
		{gateway("Gateway", "shop", "by-name", ofClass("ambit"), pending("Accepted")), no},
		{gateway("Gateway", "shop", "by-class", ofClass("mine")), no},
		{gateway("Gateway", "shop", "taken", ofClass("ambit-waypoint"), pending("Accepted")), []string{"Accepted Unknown Pending 0"}},
		{gateway("Gateway", "shop", "others", ofClass("istio")), nil},
		{gateway("ListenerSet", "shop", "mine", of("by-class"), pending("Accepted"), pending("Programmed")), no2},
		{gateway("ListenerSet", "elsewhere", "none", of("by-class")), nil},
		{gateway("ListenerSet", "shop", "others", of("others"), pending("Accepted")), []string{"Accepted Unknown Pending 0"}},
	}
	var all []*unstructured.Unstructured
	for _, x := range cases {
		all = append(all, x.object)
	}
	w := newGatewayWorld(t, all...)
	w.round()
	for _, x := range cases {
		if diff := cmp.Diff(x.want, w.said(x.object)); diff != "" {
			t.Errorf("%s: %s", x.object.GetName(), diff)
		}
	}
	w.quiet()
}

// TestNoGatewayAPI: kinds that are not defined are no trouble, and nothing is written.
func TestNoGatewayAPI(t *testing.T) {
	w := newGatewayWorld(t)
	for gvr := range gatewayLists() {
		w.unserve(gvr)
	}
	w.quiet()
}

// TestOlderGatewayAPI: what a cluster serves in an older version only is read and written in that.
func TestOlderGatewayAPI(t *testing.T) {
	older := func(version string, x *unstructured.Unstructured) *unstructured.Unstructured {
		x.SetAPIVersion(gatewayGroup + "/" + version)
		return x
	}
	edge := older("v1beta1", gateway("Gateway", "shop", "edge", ofClass("ambit")))
	route := func(version, kind string) *unstructured.Unstructured {
		return older(version, gateway(kind, "shop", "old", map[string]any{"parentRefs": []any{map[string]any{"name": "edge"}}}))
	}
	old := []*unstructured.Unstructured{route("v1beta1", "HTTPRoute"), route("v1alpha2", "GRPCRoute"), route("v1alpha2", "TLSRoute"), route("v1alpha2", "TCPRoute"), route("v1alpha2", "UDPRoute")}
	w := newGatewayWorld(t, append(old, edge)...)
	for gvr := range gatewayLists() {
		if gvr.Version == "v1" || gvr.Version == "v1alpha3" {
			w.unserve(gvr)
		}
	}
	w.round()
	if got := w.said(edge); len(got) != 2 {
		t.Errorf("Gateway: %v", got)
	}
	for _, x := range old {
		if diff := cmp.Diff([]string{GatewayController + " edge: Accepted False NotSupported 3"}, w.entries(x, parentEntries)); diff != "" {
			t.Errorf("%s: %s", x.GetKind(), diff)
		}
	}
	w.quiet()
}
