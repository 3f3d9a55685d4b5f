package kube

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster"
	"github.com/ambitmesh/ambit/tests/kube/cluster/build"
)

// namespace makes a namespace of the test's own; ambient says whether it is in the mesh.
func namespace(t *testing.T, ambient bool) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "Test", "t-").Replace(t.Name()))
	name = fmt.Sprintf("%s-%d", name[:min(len(name), 40)], time.Now().UnixNano()%100000)
	label := ""
	if ambient {
		label = "istio.io/dataplane-mode: ambient"
	}
	applyYAML(t, fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {%s}}}", name, label))
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := c.Kubectl(context.Background(), "-n", name, "get", "pods,events", "-o", "wide")
			t.Log(tail(out, 6000))
		}
		_, _ = c.Kubectl(context.Background(), "delete", "namespace", name, "--wait=false")
	})
	awaitThat(t, 30*time.Second, "service account of "+name, func() error {
		_, err := c.Kubectl(t.Context(), "-n", name, "get", "serviceaccount", "default")
		return err
	})
	return name
}

// pod is a workload of the harness' image.
type pod struct {
	namespace, name, node string
	account               string // made if it is not default
	args                  []string
	more                  string // of the container, as YAML in flow style
	spec                  string // of the pod
	annotations           string
}

func (p pod) yaml() string {
	if p.account == "" {
		p.account = "default"
	}
	args := `serve`
	if len(p.args) > 0 {
		args = strings.Join(p.args, `", "`)
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, labels: {app: %[1]s}, annotations: {%[3]s}}
spec:
  nodeName: %[4]s
  serviceAccountName: %[5]s
  terminationGracePeriodSeconds: 3
  %[6]s
  containers:
  - {name: work, image: "%[7]s", imagePullPolicy: Never, args: ["%[8]s"]%[9]s}
`, p.name, p.namespace, p.annotations, p.node, p.account, p.spec, build.WorkImage, args, comma(p.more))
}

func comma(s string) string {
	if s == "" {
		return ""
	}
	return ", " + s
}

// start makes pods, each with an account of its name, and waits until they are ready.
func start(t *testing.T, pods ...pod) {
	t.Helper()
	var all strings.Builder
	for _, p := range pods {
		fmt.Fprintf(&all, "---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: %s, namespace: %s}}\n", p.name, p.namespace)
	}
	for _, p := range pods {
		if p.account == "" {
			p.account = p.name
		}
		all.WriteString("---" + p.yaml())
	}
	applyYAML(t, all.String())
	for _, p := range pods {
		kubectl(t, "-n", p.namespace, "wait", "--for=condition=Ready", "pod/"+p.name, "--timeout=40s")
	}
}

// service exposes the pod of its name: HTTP on 80, TCP echo on 9090.
func service(t *testing.T, namespace, name string) {
	t.Helper()
	applyYAML(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: echo, port: 9090}]
`, name, namespace))
}

// enrolled waits until the agent says that a pod is captured.
func enrolled(t *testing.T, namespace string, pods ...string) {
	t.Helper()
	for _, p := range pods {
		awaitThat(t, 30*time.Second, "capture of "+p, func() error { return marked(t, namespace, p, "enabled") })
	}
}

func retired(t *testing.T, namespace string, pods ...string) {
	t.Helper()
	for _, p := range pods {
		awaitThat(t, 90*time.Second, "release of "+p, func() error { return marked(t, namespace, p, "") })
	}
}

func marked(t *testing.T, namespace, pod, want string) error {
	t.Helper()
	got, err := c.Kubectl(t.Context(), "-n", namespace, "get", "pod", pod, "-o", `jsonpath={.metadata.annotations.ambient\.istio\.io/redirection}`)
	if err == nil && got != want {
		err = fmt.Errorf("pod %s: redirection %q, not %q", pod, got, want)
	}
	return err
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func applyYAML(t *testing.T, yaml string) {
	t.Helper()
	if err := c.Apply(t.Context(), yaml); err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
}

// work runs the workload's program in a pod.
func work(t *testing.T, namespace, pod string, args ...string) (string, error) {
	t.Helper()
	return c.Kubectl(t.Context(), append([]string{"-n", namespace, "exec", pod, "--", "/work"}, args...)...)
}

func awaitThat(t *testing.T, most time.Duration, what string, ask func() error) {
	t.Helper()
	if err := cluster.Await(t.Context(), most, what, ask); err != nil {
		t.Fatal(err)
	}
}

// answers waits until a GET from a pod succeeds, and returns what came back.
func answers(t *testing.T, namespace, pod, url string) (body string) {
	t.Helper()
	awaitThat(t, 30*time.Second, pod+" gets "+url, func() (err error) {
		body, err = work(t, namespace, pod, "get", url)
		return err
	})
	return body
}

// refused waits until a GET from a pod fails.
func refused(t *testing.T, namespace, pod, url string) {
	t.Helper()
	awaitThat(t, 30*time.Second, pod+" is refused "+url, func() error {
		body, err := work(t, namespace, pod, "get", url, "3s")
		if err == nil {
			return fmt.Errorf("answered: %s", body)
		}
		return nil
	})
}

func address(t *testing.T, namespace, pod string) string {
	t.Helper()
	return kubectl(t, "-n", namespace, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
}

// proxy is the ztunnel of a node.
func proxy(t *testing.T, node string) string { return part(t, "ambit-ztunnel", node) }

func part(t *testing.T, name, node string) string {
	t.Helper()
	return kubectl(t, "-n", "ambit-system", "get", "pods", "-l", "app.kubernetes.io/name="+name, "--field-selector", "status.phase=Running,spec.nodeName="+node, "-o", "jsonpath={.items[-1:].metadata.name}")
}
