package cli

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/ambitmesh/ambit/cmd/ambit/cluster"
)

// pipes is a listener whose connections are made by Dial.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// inCluster is a cluster of one node with an agent, a ztunnel that answers, and an enrolled pod.
func inCluster(t *testing.T) *options {
	t.Helper()
	mux := http.NewServeMux()
	for path, body := range map[string]string{"/config_dump": dumpAnswer, "/connections": connectionsAnswer, "/explain": refusedAnswer, "/status": `{"problems":[{"reason":"unknown field"}]}`} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) })
	}
	l := make(pipes)
	srv := &http.Server{Handler: mux}
	go srv.Serve(l)
	t.Cleanup(func() { close(l); srv.Close() })
	part := func(name string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: name + "-x", Labels: map[string]string{"app.kubernetes.io/name": name}},
			Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Image: "ambit.dev/" + name + ":v7"}}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}
	}
	web := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{"ambient.istio.io/redirection": "enabled"}, Labels: map[string]string{"istio.io/dataplane-mode": "ambient"}},
		Spec:       corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}},
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"kubernetes.io/os": "linux"}}}
	node.Status.NodeInfo.KernelVersion = "6.12.0"
	lists := map[schema.GroupVersionResource]string{}
	for _, r := range []string{"authorizationpolicies", "peerauthentications", "requestauthentications"} {
		lists[schema.GroupVersionResource{Group: "security.istio.io", Version: "v1", Resource: r}] = r + "List"
	}
	for _, r := range []string{"destinationrules", "serviceentries", "workloadentries"} {
		lists[schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: r}] = r + "List"
	}
	return &options{kube: true, opened: &cluster.Cluster{
		Core:    fake.NewClientset(node, part(cluster.Agent), part(cluster.Ztunnel), part(cluster.Controller), web),
		Dynamic: fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists),
		Dial: func(_ context.Context, _, _ string, _ uint16) (net.Conn, error) {
			near, far := net.Pipe()
			l <- far
			return near, nil
		},
	}}
}

func TestStatusOfACluster(t *testing.T) {
	nodes, err := inCluster(t).nodes(t.Context())
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%d nodes, %v", len(nodes), err)
	}
	s := nodes[0].status(t.Context())
	if s.Agent == nil || s.Agent.Version != "v7" || s.Agent.kernel() != "6.12.0" || s.Ztunnel != "v2" || len(s.Certificates) != 1 || s.AgentError+s.ZtunnelError != "" {
		t.Errorf("%+v", s)
	}
	if len(s.Agent.Pods) != 1 || s.Agent.Pods[0].Actual != "enrolled" || s.Agent.Pods[0].Desired != "ambient" {
		t.Errorf("pods %+v", s.Agent.Pods)
	}
}

func TestExplainInACluster(t *testing.T) {
	e, err := inCluster(t).explain(t.Context(), "shop/web", "shop/payments", "8080")
	if err != nil || e.Allowed || e.Reason != "policy_no_allow" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestClusterOnlyIfOneIsNamed(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := run(t, "status", "--kube"); err == nil || !strings.Contains(err.Error(), "kubeconfig") {
		t.Errorf("no kubeconfig: %v", err)
	}
	if _, err := run(t, "check", "--kube"); err == nil {
		t.Error("check: no error")
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "status", "--kubeconfig", bad); err == nil {
		t.Error("a bad kubeconfig is no error")
	}
}

func TestTagOf(t *testing.T) {
	for image, want := range map[string]string{"ambit.dev/ambit-agent:v1": "v1", "r:5000/x/y:v2": "v2", "r:5000/x": "x"} {
		if got := tagOf(image); got != want {
			t.Errorf("tagOf(%s) = %s, want %s", image, got, want)
		}
	}
}

func TestControllerOfACluster(t *testing.T) {
	o := inCluster(t)
	if s := o.controller(t.Context()); s.Error != "" || len(s.Problems) != 1 {
		t.Errorf("%+v", s)
	}
	if err := o.opened.Core.CoreV1().Pods(cluster.Namespace).Delete(t.Context(), cluster.Controller+"-x", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := o.controller(t.Context()); !strings.Contains(s.Error, "no replica") {
		t.Errorf("%+v", s)
	}
}
