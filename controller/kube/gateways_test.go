package kube

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
)

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

// said are the conditions of an object, without their times.
func said(t *testing.T, client *dynamicfake.FakeDynamicClient, gvr schema.GroupVersionResource, namespace, name string) (out []string) {
	t.Helper()
	u, err := client.Resource(gvr).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range conditionsOf(u) {
		if m, ok := x.(map[string]any); ok {
			out = append(out, fmt.Sprint(m["type"], " ", m["status"], " ", m["reason"], " ", number(m["observedGeneration"])))
		}
	}
	return out
}

// TestGatewaysAreToldTheTruth: who asks for us is told that nothing is done; others are left alone.
func TestGatewaysAreToldTheTruth(t *testing.T) {
	class := func(name string) map[string]any { return map[string]any{"gatewayClassName": name} }
	by := func(name string) map[string]any { return map[string]any{"controllerName": name} }
	pending := map[string]any{"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{gatewayClasses: "GatewayClassList", gateways: "GatewayList"},
		gateway("GatewayClass", "", "mine", by(GatewayController), pending), gateway("GatewayClass", "", "ambit-waypoint", by("other.test/controller")),
	)
	for _, x := range []*unstructured.Unstructured{
		gateway("Gateway", "shop", "by-name", class("ambit"), pending), gateway("Gateway", "shop", "by-class", class("mine")),
		gateway("Gateway", "shop", "taken", class("ambit-waypoint"), pending), gateway("Gateway", "shop", "others", class("istio")),
	} { // the fake does not guess this kind's plural
		if err := client.Tracker().Create(gateways, x, "shop"); err != nil {
			t.Fatal(err)
		}
	}
	g := &Gateways{Client: client, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Unix(1e9, 0) }}
	if err := g.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	no := []string{"Accepted False NotSupported 3", "Programmed False NotSupported 3"}
	for _, x := range []struct {
		gvr             schema.GroupVersionResource
		namespace, name string
		want            []string
	}{
		{gatewayClasses, "", "mine", []string{"Accepted False Unsupported 3"}}, {gatewayClasses, "", "ambit-waypoint", nil},
		{gateways, "shop", "by-name", no}, {gateways, "shop", "by-class", no},
		{gateways, "shop", "taken", []string{"Accepted Unknown Pending 0"}}, {gateways, "shop", "others", nil},
	} {
		if diff := cmp.Diff(x.want, said(t, client, x.gvr, x.namespace, x.name)); diff != "" {
			t.Errorf("%s: %s", x.name, diff)
		}
	}
	client.ClearActions()
	if err := g.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, a := range client.Actions() {
		if a.GetVerb() != "list" {
			t.Errorf("told twice: %s %s", a.GetVerb(), a.GetResource().Resource)
		}
	}
}
