package kube

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// entries is what a shared list of an object's status says, in short.
func (w gatewayWorld) entries(x *unstructured.Unstructured, e entries) (out []string) {
	w.Helper()
	for _, m := range objectsIn(w.now(x).Object, "status", e.list) {
		ref, _ := m[e.ref].(map[string]any)
		have, _ := m["conditions"].([]any)
		name := ref["name"]
		if section, ok := ref["sectionName"]; ok {
			name = fmt.Sprint(name, "/", section)
		}
		out = append(out, fmt.Sprintf("%v %v: %s", m["controllerName"], name, strings.Join(inShort(have), ", ")))
	}
	return out
}

func ref(name string, more ...any) map[string]any {
	m := map[string]any{"name": name}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i].(string)] = more[i+1] //nolint:forcetypeassert // keys are literals of this file
	}
	return m
}

func attached(refs ...any) map[string]any { return map[string]any{"parentRefs": refs} }

// entryOf is an entry as another controller, or an older round, wrote it.
func entryOf(list, key, controller string, of map[string]any, conditions ...any) map[string]any {
	return map[string]any{list: []any{map[string]any{key: of, "controllerName": controller, "conditions": conditions}}}
}

const otherController = "other.test/controller"

func ours(name string) string {
	return GatewayController + " " + name + ": Accepted False NotSupported 3"
}

// TestRoutesAreToldTheTruth: every parent that is ours or the mesh has an entry; others' parents and entries
// are left alone.
func TestRoutesAreToldTheTruth(t *testing.T) {
	edge, others := gateway("Gateway", "shop", "edge", ofClass("ambit")), gateway("Gateway", "shop", "others", ofClass("other"))
	set := gateway("ListenerSet", "shop", "more", map[string]any{"parentRef": ref("edge")})
	service := ref("orders", "group", "", "kind", "Service", "port", int64(80))
	accepted := map[string]any{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2001-01-01T00:00:00Z"}
	both := gateway("HTTPRoute", "shop", "both", attached(ref("others"), ref("edge", "sectionName", "a"), ref("edge", "sectionName", "b"), service))
	both.Object["status"] = entryOf("parents", "parentRef", otherController, ref("others"), accepted)
	left := gateway("HTTPRoute", "shop", "left", attached(ref("others"), ref("edge", "namespace", "elsewhere"), ref("edge", "kind", "Other"), ref("edge", "group", "other.test")))
	left.Object["status"] = entryOf("parents", "parentRef", otherController, ref("others"), accepted)
	cases := []struct {
		object *unstructured.Unstructured
		want   []string
		word   string // of the last message of ours
	}{
		{both, []string{otherController + " others: Accepted True Accepted 0", ours("edge/a"), ours("edge/b"), ours("orders")}, "layer 4"},
		{left, []string{otherController + " others: Accepted True Accepted 0"}, ""},
		{gateway("HTTPRoute", "elsewhere", "far", attached(ref("edge", "namespace", "shop"))), []string{ours("edge")}, "Ambit v1.2.3 has no gateways"},
		{gateway("HTTPRoute", "shop", "set", attached(ref("more", "kind", "ListenerSet"))), []string{ours("more")}, "nothing listens"},
		{gateway("GRPCRoute", "shop", "entry", attached(ref("world", "group", "networking.istio.io", "kind", "ServiceEntry"))), []string{ours("world")}, "no waypoints"},
		{gateway("TLSRoute", "shop", "tls", attached(ref("edge"))), []string{ours("edge")}, "as if it were not there"},
		{gateway("TCPRoute", "shop", "tcp", attached(service)), []string{ours("orders")}, "Ambit v1.2.3 has no waypoints"},
		{gateway("TCPRoute", "shop", "none", attached(ref("others"))), nil, ""},
		{gateway("UDPRoute", "shop", "udp", attached(service)), []string{ours("orders")}, "does not carry UDP"},
		{gateway("UDPRoute", "shop", "nowhere", map[string]any{}), nil, ""},
	}
	w := newGatewayWorld(t, edge, others, set)
	for _, x := range cases {
		if err := w.client.Tracker().Create(resource(x.object), x.object, x.object.GetNamespace()); err != nil {
			t.Fatal(err)
		}
	}
	w.round()
	for _, x := range cases {
		if diff := cmp.Diff(x.want, w.entries(x.object, parentEntries)); diff != "" {
			t.Errorf("%s: %s", x.object.GetName(), diff)
		}
		if got := fmt.Sprint(w.now(x.object).Object["status"]); !strings.Contains(got, x.word) {
			t.Errorf("%s does not say %q: %s", x.object.GetName(), x.word, got)
		}
	}
	if got := objectsIn(w.now(both).Object, "status", "parents")[3]["parentRef"]; !cmp.Equal(got, any(service)) {
		t.Errorf("a parentRef is not as it is written: %v", got)
	}
	w.quiet()
}

// TestEntriesGoWithTheirParents: an entry lives as long as its parentRef and as long as the parent is ours;
// a change of the route is told again.
func TestEntriesGoWithTheirParents(t *testing.T) {
	edge := gateway("Gateway", "shop", "edge", ofClass("ambit"))
	route := gateway("HTTPRoute", "shop", "web", attached(ref("edge"), ref("orders", "group", "", "kind", "Service")))
	w := newGatewayWorld(t, edge, route)
	w.round()
	if diff := cmp.Diff([]string{ours("edge"), ours("orders")}, w.entries(route, parentEntries)); diff != "" {
		t.Fatal(diff)
	}
	change := func(x *unstructured.Unstructured, spec map[string]any) {
		t.Helper()
		next := w.now(x)
		next.Object["spec"] = spec
		next.SetGeneration(next.GetGeneration() + 1)
		if _, err := w.client.Resource(resource(x)).Namespace(x.GetNamespace()).Update(t.Context(), next, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.round()
	}
	change(route, attached(ref("edge", "namespace", "shop", "kind", "Gateway"))) // the same, in other words
	if diff := cmp.Diff([]string{GatewayController + " edge: Accepted False NotSupported 4"}, w.entries(route, parentEntries)); diff != "" {
		t.Error(diff)
	}
	change(edge, ofClass("other"))
	if got := w.entries(route, parentEntries); got != nil {
		t.Errorf("its Gateway is another's, and ours says still: %v", got)
	}
	if _, there := w.now(route).Object["status"].(map[string]any)["parents"].([]any); !there {
		t.Error("the list is gone, which the definition requires")
	}
	w.quiet()
}

// TestEntriesKeepToTheirList: a full list takes no more, and of two alike one is enough.
func TestEntriesKeepToTheirList(t *testing.T) {
	edge := gateway("Gateway", "shop", "edge", ofClass("ambit"))
	full, twice := gateway("HTTPRoute", "shop", "full", attached(ref("edge"))), gateway("HTTPRoute", "shop", "twice", attached(ref("edge"), ref("edge")))
	var all []any
	for i := range parentEntries.most {
		all = append(all, map[string]any{"parentRef": ref(fmt.Sprint("g", i)), "controllerName": otherController, "conditions": []any{}})
	}
	full.Object["status"] = map[string]any{"parents": all}
	e := map[string]any{"parentRef": ref("edge"), "controllerName": GatewayController, "conditions": []any{}}
	twice.Object["status"] = map[string]any{"parents": []any{e, e}}
	w := newGatewayWorld(t, edge, full, twice)
	w.round()
	if got := objectsIn(w.now(full).Object, "status", "parents"); len(got) != parentEntries.most {
		t.Errorf("%d entries", len(got))
	}
	if diff := cmp.Diff([]string{ours("edge")}, w.entries(twice, parentEntries)); diff != "" {
		t.Error(diff)
	}
	w.quiet()
}

// TestRoutesAfterFailures: what cannot be written or listed does not keep the rest, and is never taken for
// absent.
func TestRoutesAfterFailures(t *testing.T) {
	edge := gateway("Gateway", "shop", "edge", ofClass("ambit"))
	web, tcp := gateway("HTTPRoute", "shop", "web", attached(ref("edge"))), gateway("TCPRoute", "shop", "tcp", attached(ref("edge")))
	udp := gateway("UDPRoute", "shop", "udp", attached(ref("edge")))
	web.Object["spec"].(map[string]any)["rules"] = []any{map[string]any{"backendRefs": []any{ref("orders")}}}
	policy := gateway("BackendTLSPolicy", "shop", "orders", map[string]any{"targetRefs": []any{ref("orders", "group", "", "kind", "Service")}})
	w := newGatewayWorld(t, edge, web, tcp, udp, policy)
	w.round()
	if diff := cmp.Diff([]string{ours("edge")}, w.entries(policy, ancestorEntries)); diff != "" {
		t.Fatal(diff)
	}
	away := errors.New("the API server is away")
	w.fail("list", resource(web), away)
	w.g.Version = "v1.2.4"
	if err := w.g.round(t.Context()); !errors.Is(err, away) {
		t.Errorf("not told: %v", err)
	}
	if got := fmt.Sprint(w.now(tcp).Object["status"]); !strings.Contains(got, "v1.2.4") {
		t.Errorf("a kind that can be listed waits for one that cannot: %s", got)
	}
	if diff := cmp.Diff([]string{ours("edge")}, w.entries(policy, ancestorEntries)); diff != "" {
		t.Errorf("unknown was taken for absent: %s", diff)
	}
	conflict := apierrors.NewConflict(resource(tcp).GroupResource(), "tcp", errors.New("somebody wrote"))
	w.fail("patch", resource(tcp), conflict)
	w.g.Version = "v1.2.5"
	if err := w.g.round(t.Context()); !errors.Is(err, conflict) {
		t.Errorf("not told: %v", err)
	}
	if got := fmt.Sprint(w.now(udp).Object["status"]); !strings.Contains(got, "v1.2.5") {
		t.Errorf("a route waits for another that cannot be written: %s", got)
	}
}
