package kube

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// TestUninstall follows the pages: what users wrote stays, nothing stays on nodes, pods talk on; and it can
// be installed again.
func TestUninstall(t *testing.T) {
	ns := pair(t)
	kubectl(t, "-n", ns, "delete", "peerauthentication", "default")
	applyYAML(t, fmt.Sprintf(`{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: mine, namespace: %s}, spec: {action: DENY, rules: [{to: [{operation: {ports: ["1"]}}]}]}}`, ns))
	applyYAML(t, fmt.Sprintf(`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: mine, namespace: %s}, spec: {rules: [{backendRefs: [{name: server, port: 80}]}]}}`, ns))
	t.Cleanup(func() {
		if err := install(context.Background()); err != nil {
			t.Error(err)
		}
	})
	uninstall(t)
	kubectl(t, "-n", ns, "get", "authorizationpolicies/mine", "httproutes/mine")
	answers(t, ns, "client", "http://server/")
	if err := marked(t, ns, "client", ""); err != nil {
		t.Error(err)
	}
	if out, err := ambit(t, "uninstall", "--check", "--kube"); err != nil {
		t.Errorf("the cluster: %v\n%s", err, out)
	}
	for _, n := range c.Nodes {
		out, err := n.Run(t.Context(), c.Dir+"/ambit", "uninstall", "--check")
		if err != nil {
			t.Errorf("node %s: %v", n.Name, err)
		}
		t.Log(strings.TrimSpace(out))
		if out, _ := n.Run(t.Context(), "sh", "-c", "cat /etc/cni/net.d/*; ls /opt/cni/bin /sys/fs/bpf"); strings.Contains(out, "ambit") {
			t.Errorf("left on %s: %s", n.Name, out)
		}
	}
	start(t, pod{namespace: ns, name: "later", node: nodeA})
	answers(t, ns, "later", "http://server/")
}

// uninstall does what the pages say.
func uninstall(t *testing.T) {
	t.Helper()
	kubectl(t, "-n", "ambit-system", "delete", "daemonset", "ambit-agent", "--cascade=foreground", "--timeout=120s")
	kubectl(t, "delete", "-f", "../../manifests/ambit.yaml", "--timeout=120s", "--ignore-not-found")
}
