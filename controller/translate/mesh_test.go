package translate

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/objects"
)

func pod(namespace, name, node, account string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{NodeName: node, ServiceAccountName: account},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
}

func put(t testing.TB, m *Mesh, objs ...objects.Object) {
	t.Helper()
	for _, o := range objs {
		if err := m.Set(o); err != nil {
			t.Fatal(err)
		}
	}
}

func changes(t testing.TB, m *Mesh) (names []string) {
	t.Helper()
	all, err := m.Changes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		name := c.Name
		if c.Resource == nil {
			name = "-" + name
		}
		names = append(names, name)
	}
	return names
}

func TestRunsOnFollowsPodsAtOnce(t *testing.T) {
	m := NewMesh(Options{TrustDomain: "example.org"})
	id := func(namespace, account string) identity.ID {
		return identity.ID{TrustDomain: "example.org", Namespace: namespace, ServiceAccount: account}
	}
	put(t, m, pod("shop", "web-1", "a", "web"), pod("shop", "web-2", "a", "web"), pod("shop", "db", "a", ""), pod("shop", "far", "b", "far"),
		pod("shop", "pending", "", "pending"))
	if diff := cmp.Diff([]identity.ID{id("shop", "default"), id("shop", "web")}, m.RunsOn("a")); diff != "" {
		t.Error(diff)
	}
	if m.Runs("a", id("shop", "far")) || m.Runs("", id("shop", "pending")) || m.Runs("a", identity.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}) {
		t.Error("an identity that does not run on the node")
	}
	m.Delete(Ref{objects.Pod, "shop", "web-1"})
	if !m.Runs("a", id("shop", "web")) {
		t.Error("gone with the first of two pods")
	}
	for _, phase := range []corev1.PodPhase{corev1.PodFailed, corev1.PodSucceeded} {
		over := pod("shop", "web-2", "a", "web")
		put(t, m, over.DeepCopy())
		over.Status.Phase = phase
		put(t, m, over)
		if m.Runs("a", id("shop", "web")) {
			t.Errorf("a pod that is %s still runs", phase)
		}
	}
	put(t, m, pod("shop", "db", "b", ""))
	if len(m.RunsOn("a")) != 0 || !m.Runs("b", id("shop", "default")) {
		t.Error("a pod that moved")
	}
}

func tunnel(t *testing.T, m *Mesh, uid string) workload.TunnelProtocol {
	t.Helper()
	changes(t, m)
	var a workload.Address
	if err := m.Resource(AddressType, uid).Body.UnmarshalTo(&a); err != nil {
		t.Fatal(err)
	}
	return a.GetWorkload().GetTunnelProtocol()
}

func TestOnlyThePodsOwnNodeCaptures(t *testing.T) {
	const uid, plain, hbone = "Kubernetes//Pod/shop/web", workload.TunnelProtocol_NONE, workload.TunnelProtocol_HBONE
	m := NewMesh(Options{})
	m.SetCaptured("a", uid, true) // the proxy may know the pod first
	put(t, m, pod("shop", "web", "a", "web"))
	if got := tunnel(t, m, uid); got != hbone {
		t.Errorf("captured: %v", got)
	}
	node, _ := m.Redirected(uid)
	if none, _ := m.Redirected("Kubernetes//Pod/shop/other"); node != "a" || none != "" {
		t.Errorf("node: %q, of none %q", node, none)
	}
	m.SetCaptured("b", uid, true)
	m.SetCaptured("a", uid, false)
	if got := tunnel(t, m, uid); got != plain {
		t.Errorf("captured by a node that the pod is not on: %v", got)
	}
	put(t, m, pod("shop", "web", "b", "web"))
	if got := tunnel(t, m, uid); got != hbone {
		t.Errorf("moved to the node that captures it: %v", got)
	}
}

func TestChangesAreOrderedAndToldOnce(t *testing.T) {
	m := NewMesh(Options{})
	load(t, m, []byte(semanticsPod+policyYAML("shop", `{selector: {matchLabels: {app: api}}}`)))
	want := []string{"ambit-system/" + staticStrict, "shop/p", "Kubernetes//Pod/shop/api"}
	if diff := cmp.Diff(want, changes(t, m)); diff != "" {
		t.Error(diff)
	}
	load(t, m, []byte(semanticsPod+policyYAML("shop", `{selector: {matchLabels: {app: api}}}`)))
	if got := changes(t, m); got != nil {
		t.Errorf("told again: %q", got)
	}
	m.Delete(Ref{objects.AuthorizationPolicy, "shop", "p"})
	if diff := cmp.Diff([]string{"Kubernetes//Pod/shop/api", "-shop/p"}, changes(t, m)); diff != "" {
		t.Error(diff)
	}
	m.Delete(Ref{objects.Pod, "shop", "api"})
	m.Delete(Ref{objects.Pod, "shop", "api"})
	if diff := cmp.Diff([]string{"-Kubernetes//Pod/shop/api"}, changes(t, m)); diff != "" {
		t.Error(diff)
	}
	if got := m.Statuses(); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}

func sliceOf(n int) *discoveryv1.EndpointSlice {
	name, port := "", int32(8080)
	sl := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1",
		Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}}}
	for i := range n {
		ready := true
		sl.Endpoints = append(sl.Endpoints, discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: fmt.Sprintf("web-%d", i)}})
	}
	return sl
}

// A change must not cost more than what depends on it: these are the pods that are translated anew.
func TestChangeCostsWhatDependsOnIt(t *testing.T) {
	const n = 50
	m := NewMesh(Options{})
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}}}
	for i := range n {
		put(t, m, pod("shop", fmt.Sprintf("web-%d", i), "a", "web"), pod("other", fmt.Sprintf("x-%d", i), "b", "x"))
	}
	put(t, m, svc, sliceOf(n))
	changes(t, m)

	expect := func(what string, pods, told int) {
		t.Helper()
		if got := len(m.stale.pods); got != pods {
			t.Errorf("%s: %d pods are stale, want %d", what, got, pods)
		}
		if got := len(changes(t, m)); got != told {
			t.Errorf("%s: %d changes, want %d", what, got, told)
		}
	}
	sl := sliceOf(n)
	put(t, m, sl)
	expect("the same slice", 0, 0)
	sl = sl.DeepCopy()
	*sl.Endpoints[7].Conditions.Ready = false
	put(t, m, sl)
	expect("an endpoint not ready", 1, 1)
	sl = sl.DeepCopy()
	sl.Endpoints = slices.Delete(sl.Endpoints, 3, 4)
	put(t, m, sl)
	expect("an endpoint gone", 1, 1)
	sl = sl.DeepCopy()
	*sl.Ports[0].Port = 8081
	put(t, m, sl)
	expect("another port", n-1, n-2) // one of them is not ready
	svc = svc.DeepCopy()
	svc.Spec.ClusterIP = "10.96.0.2"
	put(t, m, svc)
	expect("another address of the service", 0, 1)
	svc = svc.DeepCopy()
	svc.Spec.PublishNotReadyAddresses = true
	put(t, m, svc)
	expect("endpoints that are not ready count", n-1, 2) // the service, and the one that is not ready
	put(t, m, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "b", Labels: map[string]string{corev1.LabelTopologyZone: "z"}}})
	expect("a node's locality", n, n)
	load(t, m, []byte(policyYAML("shop", `{rules: [{}]}`)))
	expect("a policy of the namespace", 0, 1)
	load(t, m, []byte(peerYAML("shop", `{mtls: {mode: STRICT}}`)))
	expect("STRICT in a namespace", n, n)
	load(t, m, []byte(peerYAML("ambit-system", `{mtls: {mode: STRICT}}`)))
	expect("STRICT in the mesh", 2*n, n)
}

func TestSetRefusesStrangeKinds(t *testing.T) {
	if err := NewMesh(Options{}).Set(&corev1.ConfigMap{}); err == nil {
		t.Error("a ConfigMap is no object of the mesh")
	}
}
