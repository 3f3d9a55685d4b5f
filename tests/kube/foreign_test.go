package kube

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster/build"
)

// TestForeignMesh: where Istio's own agent is, ours refuses to start and says why, and so does the check
// of the command line, before and after the install.
func TestForeignMesh(t *testing.T) {
	ns := namespace(t, false)
	applyYAML(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: istio-cni-node, namespace: %[1]s, labels: {k8s-app: istio-cni-node}}
spec:
  selector: {matchLabels: {k8s-app: istio-cni-node}}
  template:
    metadata: {labels: {k8s-app: istio-cni-node}}
    spec:
      nodeSelector: {kubernetes.io/hostname: no-such-node}
      containers: [{name: install-cni, image: "%[2]s", imagePullPolicy: Never}]
`, ns, build.PauseImage))
	told, err := ambit(t, "check", "--kube")
	if line := lineWith(told, "FAIL", "daemon set "+ns+"/istio-cni-node"); err == nil || !strings.Contains(line, "Istio's own agent") {
		t.Errorf("ambit check says nothing of istio-cni-node: %v\n%s", err, told)
	}

	chainIstio(t)
	restartAgent(t.Context(), t)
	var name string
	awaitThat(t, 60*time.Second, "refusal of the agent", func() error {
		name = kubectl(t, "-n", "ambit-system", "get", "pods", "-l", "app.kubernetes.io/name=ambit-agent", "--field-selector", "spec.nodeName="+nodeA, "-o", "jsonpath={.items[-1:].metadata.name}")
		out, err := c.Kubectl(t.Context(), "-n", "ambit-system", "get", "pod", name, "-o", "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].lastState.terminated.message}")
		if err == nil && !strings.Contains(out, "another mesh is on this node") {
			err = fmt.Errorf("pod %s: %q", name, out)
		}
		return err
	})
	told, err = ambit(t, "check", "--kube")
	if line := lineWith(told, "FAIL", "ambit-agent on "+nodeA); err == nil || !strings.Contains(line, "another mesh is on this node") {
		t.Errorf("ambit check does not say why the agent is away: %v\n%s", err, told)
	}
}

// lineWith returns the first line that has all the words, with the hint below it.
func lineWith(text string, words ...string) string {
	lines := strings.Split(text, "\n")
next:
	for i, l := range lines {
		for _, w := range words {
			if !strings.Contains(l, w) {
				continue next
			}
		}
		return strings.Join(lines[i:min(i+2, len(lines))], "\n")
	}
	return ""
}

// chainIstio puts Istio's plugin into a node's chain, and takes it out when the test ends.
func chainIstio(t *testing.T) {
	t.Helper()
	node := c.Node(nodeA)
	file, err := node.Run(t.Context(), "sh", "-c", "ls /etc/cni/net.d/*.conflist")
	if err != nil {
		t.Fatal(err)
	}
	file = strings.TrimSpace(file)
	before, err := node.Run(t.Context(), "cat", file)
	portmap := regexp.MustCompile(`\{\s*"type":\s*"portmap"`)
	if err != nil || len(portmap.FindAllString(before, -1)) != 1 {
		t.Fatalf("%s: %v\n%s", file, err, before)
	}
	write := func(text string) {
		const put = `echo "$1" | base64 -d >"$2.new" && mv "$2.new" "$2"`
		cmd := node.Enter("sh", "-c", put, "sh", base64.StdEncoding.EncodeToString([]byte(text)), file)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("write %s: %v: %s", file, err, out)
		}
	}
	t.Cleanup(func() {
		write(before)
		restartAgent(context.Background(), t)
		if err := ready(context.Background()); err != nil {
			t.Error(err)
		}
	})
	write(portmap.ReplaceAllString(before, `{"type": "istio-cni", "ambient_enabled": true}, $0`))
}

// restartAgent replaces the agent of the first node; tests that end call it too.
func restartAgent(ctx context.Context, t *testing.T) {
	t.Helper()
	if _, err := c.Kubectl(ctx, "-n", "ambit-system", "delete", "pod", "-l", "app.kubernetes.io/name=ambit-agent", "--field-selector", "spec.nodeName="+nodeA); err != nil {
		t.Error(err)
	}
}
