package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"
)

func meta(namespace, name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}
}

// clusterOf is a cluster of typed objects, and of others as YAML.
func clusterOf(t *testing.T, yamls string, objects ...runtime.Object) *Cluster {
	t.Helper()
	kinds := map[schema.GroupVersionResource]string{definitions: "CustomResourceDefinitionList"}
	for _, k := range slices.Concat(judged, ours, inNamespace) {
		kinds[k] = k.Resource + "List"
	}
	var dynamic []runtime.Object
	for doc := range strings.SplitSeq(yamls, "---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			t.Fatal(err)
		}
		if u.GetKind() != "" {
			dynamic = append(dynamic, u)
		}
	}
	core := fake.NewClientset(objects...)
	if d, ok := core.Discovery().(*fakediscovery.FakeDiscovery); ok {
		d.FakedServerVersion = &version.Info{Major: "1", Minor: "37", GitVersion: "v1.37.2"}
	}
	return &Cluster{Core: core, Dynamic: fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, dynamic...)}
}

func node(name, kernel string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: meta("", name, map[string]string{"kubernetes.io/os": "linux"})}
	n.Status.NodeInfo = corev1.NodeSystemInfo{OperatingSystem: "linux", KernelVersion: kernel}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	return n
}

func part(name, pod, node string, ready bool) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta(Namespace, pod, map[string]string{"app.kubernetes.io/name": name})}
	p.Spec.NodeName, p.Spec.Containers = node, []corev1.Container{{Image: "ambit.dev/" + name + ":v1"}}
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	} else {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}}}}
	}
	return p
}

func namespace(name, mode string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: meta("", name, map[string]string{labelMode: mode})}
}

func TestNodesAndTheirParts(t *testing.T) {
	old, next := part(Ztunnel, "zt-old", "n1", true), part(Ztunnel, "zt-new", "n1", false)
	next.CreationTimestamp = metav1.Unix(1000, 0)
	c := clusterOf(t, "", node("n2", "6.1.0"), node("n1", "6.12.0"), part(Agent, "agent-1", "n1", true), old, next)
	got, err := c.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Node{
		{Name: "n1", Kernel: "6.12.0", Agent: &Part{Pod: "agent-1", Image: "ambit.dev/ambit-agent:v1", Ready: true}, Ztunnel: &Part{Pod: "zt-old", Image: "ambit.dev/ambit-ztunnel:v1", Ready: true}},
		{Name: "n2", Kernel: "6.1.0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err = clusterOf(t, "", node("n1", ""), next).Nodes(t.Context()); err != nil || got[0].Ztunnel.Why != "no such image" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPodsFollowTheAgentsRule(t *testing.T) {
	pod := func(ns, name, mode string, edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, UID: "uid-of-a"}}
		if mode != "" {
			p.Labels = map[string]string{labelMode: mode}
		}
		edit(p)
		return p
	}
	none := func(*corev1.Pod) {}
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "e"}, Type: "Warning", Message: "the namespace is full", Source: corev1.EventSource{Component: Agent},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", UID: "uid-of-a"},
	}
	c := clusterOf(t, "", namespace("shop", "ambient"), namespace("other", ""), event,
		pod("shop", "a", "", none),
		pod("shop", "captured", "", func(p *corev1.Pod) { p.Annotations = map[string]string{redirection: "enabled"} }),
		pod("shop", "host", "", func(p *corev1.Pod) { p.Spec.HostNetwork = true }),
		pod("shop", "done", "", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		pod("shop", "out", "none", none), pod("other", "in", "ambient", none), pod("other", "plain", "", none),
	)
	pods, err := c.Pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pods {
		got = append(got, fmt.Sprintf("%s/%s %v %v %s", p.Namespace, p.Name, p.Wanted, p.Captured, p.Why))
	}
	want := []string{"other/in true false the namespace is full", "shop/a true false the namespace is full", "shop/captured true true namespace label"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func states(lines []Line) (out []string) {
	for _, l := range lines {
		out = append(out, string(l.State)+" "+l.What)
		if l.State != OK && l.Hint == "" {
			out = append(out, "no hint for "+l.What)
		}
	}
	return out
}

func TestCheckBeforeInstall(t *testing.T) {
	c := clusterOf(t, "", node("n1", "6.12.0"), node("old", "5.15.0-generic"))
	want := []string{"ok API server", "ok nodes", "FAIL node old", "ok other meshes", "warn definitions of Istio's kinds", "warn definitions of Gateway API", "ok admission webhooks", "ok install", "ok pods"}
	if diff := cmp.Diff(want, states(c.Check(t.Context()))); diff != "" {
		t.Error(diff)
	}
}

func TestCheckFindsIstiosAgent(t *testing.T) {
	set := &appsv1.DaemonSet{ObjectMeta: meta("istio-system", "istio-cni-node", nil)}
	proxy := &appsv1.DaemonSet{ObjectMeta: meta("istio-system", "zt", map[string]string{"app": "ztunnel"})}
	own := &appsv1.DaemonSet{ObjectMeta: meta(Namespace, Ztunnel, map[string]string{"app": "ztunnel"})}
	got, err := clusterOf(t, "", set, proxy, own).checkMeshes(t.Context())
	if diff := cmp.Diff([]string{"FAIL daemon set istio-system/istio-cni-node", "FAIL daemon set istio-system/zt"}, states(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestCheckComparesDefinitions(t *testing.T) {
	crd := func(name, annotation, value string) string {
		return fmt.Sprintf("{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: %s, annotations: {%s: %q}}}\n---\n", name, annotation, value)
	}
	all := func(version string) (istio string) {
		for _, k := range istioKinds {
			istio += crd(k, crdSource, istioModule+" "+version)
		}
		return istio
	}
	for version, want := range map[string]string{"v9.0.0": "newer", "v1.0.0": "older", "v1.6.3": "v1.6.3"} {
		got, err := clusterOf(t, all(istioVersion)+crd("gateways.gateway.networking.k8s.io", "gateway.networking.k8s.io/bundle-version", version)).checkCRDs(t.Context())
		if err != nil || len(got) != 2 || got[0].State != OK || !strings.Contains(got[1].Detail, want) {
			t.Errorf("%s: %+v, %v", version, got, err)
		}
	}
	for version, want := range map[string]Line{
		"v99.0.0":    {State: OK, Detail: "newer: " + istioKinds[0] + " v99.0.0, "},
		"v1.0.0":     {State: Warn, Detail: "older than " + istioVersion + ": " + istioKinds[0] + " v1.0.0, "},
		istioVersion: {State: OK, Detail: "6, from istio.io/api " + istioVersion},
	} {
		got, err := clusterOf(t, all(version)).checkCRDs(t.Context())
		if err != nil || len(got) != 2 || got[0].State != want.State || !strings.HasPrefix(got[0].Detail, want.Detail) {
			t.Errorf("%s: %+v, %v", version, got, err)
		}
	}
	got, err := clusterOf(t, crd(istioKinds[0], "x", "y")).checkCRDs(t.Context())
	if err != nil || !strings.Contains(got[0].Detail, istioKinds[1]) || !strings.Contains(got[1].Detail, istioKinds[0]) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCheckKnowsTheVersionThatIsApplied(t *testing.T) {
	text, err := os.ReadFile("../../../manifests/crds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if line := crdSource + ": " + istioModule + " " + istioVersion + "\n"; strings.Count(string(text), line) != len(istioKinds) {
		t.Errorf("not %d times in crds.yaml: %q", len(istioKinds), line)
	}
}

func TestCheckOfAnInstall(t *testing.T) {
	deployment := &appsv1.Deployment{ObjectMeta: meta(Namespace, Controller, nil), Status: appsv1.DeploymentStatus{Replicas: 2, ReadyReplicas: 1}}
	root := &corev1.ConfigMap{ObjectMeta: meta(Namespace, "ambit-ca-root", nil), Data: map[string]string{"root.pem": "x"}}
	c := clusterOf(t, "", namespace(Namespace, "none"), deployment, root, node("n1", "6.1"), part(Agent, "a", "n1", true), part(Ztunnel, "z", "n1", false))
	got, err := c.checkInstall(t.Context())
	want := []string{"warn ambit-controller", "ok root certificates", "FAIL fence of the agents", "ok ambit-agent", "FAIL ambit-ztunnel on n1", "ok ambit-ztunnel"}
	if diff := cmp.Diff(want, states(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestObjectsAsTheControllerJudged(t *testing.T) {
	c := clusterOf(t, `{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {namespace: shop, name: a}, status: {conditions: [{type: Other}, {type: AmbitAccepted, status: "True", message: "enforced by ztunnel; not as written: x; y"}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {namespace: shop, name: b}}
`)
	got, err := c.Objects(t.Context())
	want := []Object{
		{Kind: "AuthorizationPolicy", Namespace: "shop", Name: "a", Accepted: true, EnforcedBy: "ztunnel", Parts: []string{"x", "y"}},
		{Kind: "AuthorizationPolicy", Namespace: "shop", Name: "b", Message: "the controller has not judged it yet"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestLeftovers(t *testing.T) {
	captured := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a", Annotations: map[string]string{redirection: "enabled"}}}
	c := clusterOf(t, `{apiVersion: v1, kind: Namespace, metadata: {name: ambit-system, labels: {app.kubernetes.io/part-of: ambit}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
`, captured)
	got, err := c.Leftovers(t.Context())
	if diff := cmp.Diff([]string{"Namespace ambit-system", "pod shop/a is marked as captured"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAdminAsksThePod(t *testing.T) {
	c := &Cluster{Dial: func(_ context.Context, namespace, pod string, port uint16) (net.Conn, error) {
		if namespace != Namespace || pod != "z" || port != 15000 {
			return nil, errors.New("another pod")
		}
		near, far := net.Pipe()
		go answer(far)
		return near, nil
	}}
	b, err := c.Admin(t.Context(), "z", "/explain", map[string][]string{"port": {"80"}})
	if err != nil || string(b) != "localhost /explain?port=80" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := c.Admin(t.Context(), "other", "/", nil); err == nil {
		t.Error("no error")
	}
}

// answer serves one request with what was asked.
func answer(c net.Conn) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	body := req.Host + " " + req.RequestURI
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func TestComplaints(t *testing.T) {
	for _, c := range []struct {
		e    corev1.Event
		want string
	}{
		{corev1.Event{Reason: "FailedCreatePodSandBox", Message: `plugin type="ambit-cni" failed (add): ambit-cni: pod a/b is not in the mesh yet`}, "pod a/b is not in the mesh yet"},
		{corev1.Event{Reason: "FailedCreatePodSandBox", Message: "no such image"}, ""},
		{corev1.Event{Reason: "Unhealthy", Message: "Readiness probe failed"}, ""},
		{corev1.Event{ReportingController: Agent, Message: "full"}, "full"},
	} {
		if got := complaint(&c.e); got != c.want {
			t.Errorf("%q: %q, want %q", c.e.Message, got, c.want)
		}
	}
}

func TestReplicasThatAreReady(t *testing.T) {
	c := clusterOf(t, "", part(Controller, "c-1", "n1", true), part(Controller, "c-2", "n2", false), part(Agent, "a", "n1", true))
	if got, err := c.Replicas(t.Context()); err != nil || !slices.Equal(got, []string{"c-1"}) {
		t.Errorf("%v, %v", got, err)
	}
}
