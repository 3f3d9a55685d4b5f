package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	unchanged := ofOthers(t, ns)
	t.Cleanup(func() {
		if err := install(context.Background()); err != nil {
			t.Error(err)
		}
	})
	uninstall(t)
	unchanged()
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

// ofOthers makes what other products have in a cluster: a controller's own class, Gateway and route, and Istio
// objects whose fields another manager owns. It returns the check that they, and the user's own, are as they were.
func ofOthers(t *testing.T, ns string) (unchanged func()) {
	t.Helper()
	class := "other-" + ns
	t.Cleanup(func() {
		if _, err := c.Kubectl(context.Background(), "delete", "--ignore-not-found", "gatewayclass", class); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(t.TempDir(), "others.yaml")
	err := os.WriteFile(file, fmt.Appendf(nil, `
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: %[2]s}, spec: {controllerName: other.example.com/gateways}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: other, namespace: %[1]s}, spec: {gatewayClassName: %[2]s, listeners: [{name: web, port: 80, protocol: HTTP}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: other, namespace: %[1]s}, spec: {parentRefs: [{name: other}], rules: [{backendRefs: [{name: server, port: 80}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: other, namespace: %[1]s}, spec: {host: elsewhere.example.com}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: other, namespace: %[1]s}, spec: {action: DENY, rules: [{to: [{operation: {ports: ["2"]}}]}]}}
`, ns, class), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", "--server-side", "--field-manager=other-product", "-f", file)
	// Of what the mesh honours it writes the status, as long as it is there. Of the others' own it writes nothing.
	const honoured, own = `{.kind}/{.metadata.name} {.metadata.uid} {.metadata.generation} {.spec}`, ` {.metadata.resourceVersion}`
	state := func() string {
		return kubectl(t, "-n", ns, "get", "authorizationpolicies/mine", "authorizationpolicies/other", "httproutes/mine", "destinationrules/other", "-o", `jsonpath={range .items[*]}`+honoured+`{"\n"}{end}`) +
			kubectl(t, "-n", ns, "get", "gatewayclasses/"+class, "gateways/other", "httproutes/other", "-o", `jsonpath={range .items[*]}`+honoured+own+`{"\n"}{end}`) +
			kubectl(t, "-n", ns, "get", "destinationrules/other", "authorizationpolicies/other", "--show-managed-fields", "-o", `jsonpath={range .items[*]}{.metadata.managedFields[?(@.manager=="other-product")].operation}{"\n"}{end}`)
	}
	before := state()
	if strings.Count(before, "\n") != 9 || strings.Count(before, "Apply\n") != 2 {
		t.Fatalf("what others have: %s", before)
	}
	return func() {
		t.Helper()
		if after := state(); after != before {
			t.Errorf("an uninstall changed what others have:\n%s\n%s", before, after)
		}
	}
}

// uninstall does what the pages say.
func uninstall(t *testing.T) {
	t.Helper()
	kubectl(t, "-n", "ambit-system", "delete", "daemonset", "ambit-agent", "--cascade=foreground", "--timeout=120s")
	kubectl(t, "delete", "-f", "../../manifests/ambit.yaml", "--timeout=120s", "--ignore-not-found")
}
