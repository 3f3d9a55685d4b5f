package kube

import (
	"fmt"
	"testing"
	"time"
)

// TestReadiness: an endpoint comes and goes with its pod's readiness, unless the service publishes those
// that are not ready. A readiness gate says when the pod is ready.
func TestReadiness(t *testing.T) {
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "client", node: nodeA})
	gated := pod{namespace: ns, name: "server", node: nodeB, spec: "readinessGates: [{conditionType: test.ambit.dev/open}]"}
	applyYAML(t, gated.yaml())
	service(t, ns, "server")
	expose(t, ns, "early", "publishNotReadyAddresses: true, selector: {app: server}, ports: [{port: 80, targetPort: 8080}]")
	enrolled(t, ns, "client", "server")

	t.Run("publishNotReadyAddresses", func(t *testing.T) {
		takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://early/", "server") })
		refused(t, ns, "client", "http://server/")
	})
	for range 3 {
		t.Logf("ready: an endpoint after %v", follows(t, ns, true))
		t.Logf("not ready: none after %v", follows(t, ns, false))
	}
	reaches(t, ns, "client", "http://early/", "server")
}

// follows opens or shuts the pod's gate and returns how long after the API server had the slice the
// client's connections follow. It is what one sees with kubectl exec: the calls' own time is in it.
func follows(t *testing.T, ns string, ready bool) time.Duration {
	t.Helper()
	status := map[bool]string{true: "True", false: "False"}[ready]
	kubectl(t, "-n", ns, "patch", "pod", "server", "--subresource=status", "--type=strategic", "-p",
		fmt.Sprintf(`{"status":{"conditions":[{"type":"test.ambit.dev/open","status":%q}]}}`, status))
	known := make(chan time.Time, 1)
	go func() {
		kubectlUntil(t, fmt.Sprint(ready), "-n", ns, "get", "endpointslices", "-l", "kubernetes.io/service-name=server", "-o", "jsonpath={.items[*].endpoints[*].conditions.ready}")
		known <- time.Now()
	}()
	awaitThat(t, 30*time.Second, fmt.Sprintf("an answer is %v", ready), func() error {
		_, err := work(t, ns, "client", "get", "http://server/", "2s")
		if (err == nil) != ready {
			return fmt.Errorf("the call's error is %v", err)
		}
		return nil
	})
	answered := time.Now()
	took := answered.Sub(<-known)
	if took > 5*time.Second {
		t.Errorf("endpoints follow readiness %v only after %v", ready, took)
	}
	return max(took, 0).Round(time.Millisecond)
}

// kubectlUntil asks until it prints what is wanted, or some time is over.
func kubectlUntil(t *testing.T, want string, args ...string) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if out, err := c.Kubectl(t.Context(), args...); err == nil && out == want {
			return
		}
	}
	t.Errorf("kubectl %v did not print %q", args, want)
}
