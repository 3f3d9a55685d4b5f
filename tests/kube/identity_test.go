package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const apiAudience = "https://kubernetes.default.svc.cluster.local"

// TestStolenTokens asks the CA and the API server with tokens that somebody stole.
func TestStolenTokens(t *testing.T) {
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "here", node: nodeA}, pod{namespace: ns, name: "there", node: nodeB})
	here, there := "spiffe://cluster.local/ns/"+ns+"/sa/here", "spiffe://cluster.local/ns/"+ns+"/sa/there"

	t.Run("pod", func(t *testing.T) {
		token := tokenOf(t, ns, "here", "here", "istio-ca")
		noConfiguration(t, token)
		if got, err := sign(t, token, here); err != nil || strings.TrimSpace(got) != here {
			t.Errorf("its own identity: %q, %v", got, err)
		}
		denied(t, token, there)
	})
	t.Run("ztunnel", func(t *testing.T) {
		token := tokenOf(t, "ambit-system", "ambit-ztunnel", proxy(t, nodeA), "istio-ca")
		if got, err := sign(t, token, here); err != nil || strings.TrimSpace(got) != here {
			t.Errorf("a pod's of its node: %q, %v", got, err)
		}
		denied(t, token, there)
		denied(t, token, "spiffe://other.domain/ns/"+ns+"/sa/here")
		if got, err := configuration(t, token); err != nil {
			t.Errorf("the proxies' configuration: %q, %v", got, err)
		}
		if err := as(t, token, "get", "pods", "-A"); err == nil || !strings.Contains(err.Error(), "Unauthorized") && !strings.Contains(err.Error(), "logged in") {
			t.Errorf("its token for the CA, at the API server: %v", err)
		}
	})
	t.Run("ztunnel's account", func(t *testing.T) {
		// No pod has such a token; who can make pods in ambit-system could.
		token := tokenOf(t, "ambit-system", "ambit-ztunnel", proxy(t, nodeA), apiAudience)
		powerless(t, token, ns, map[string][]string{
			"pods": {"get", "pods", "-A"}, "nodes": {"get", "nodes"}, "namespaces": {"get", "namespaces"}, "its own pod": {"-n", "ambit-system", "get", "pod", proxy(t, nodeA)},
			"services": {"get", "services", "-A"}, "policies": {"get", "authorizationpolicies", "-A"},
		})
		for what, path := range map[string]string{"status of a pod": "/api/v1/namespaces/" + ns + "/pods/here/status", "a pod": "/api/v1/namespaces/" + ns + "/pods/here", "a node": "/api/v1/nodes/" + nodeA} {
			if got := patched(t, token, path, `{"metadata":{"annotations":{"ambient.istio.io/redirection":"enabled"}}}`); got != "403 Forbidden" {
				t.Errorf("patch of %s: %s", what, got)
			}
		}
		if got := grants(t, token, tokenOf(t, ns, "here", "here", apiAudience), ns); len(got) > 0 {
			t.Errorf("rbac.md says that the account may do nothing; it may %q", got)
		}
	})
	t.Run("audience", func(t *testing.T) {
		denied(t, tokenOf(t, "ambit-system", "ambit-ztunnel", proxy(t, nodeA), apiAudience), here)
	})
	t.Run("unbound", func(t *testing.T) {
		denied(t, strings.TrimSpace(kubectl(t, "-n", "ambit-system", "create", "token", "ambit-ztunnel", "--audience=istio-ca")), here)
	})
	t.Run("agent", func(t *testing.T) {
		agent := tokenOf(t, "ambit-system", "ambit-agent", part(t, "ambit-agent", nodeA), apiAudience)
		stolenAgent(t, agent, ns)
	})
}

// stolenAgent tries what an agent may do and what it may not.
func stolenAgent(t *testing.T, token, ns string) {
	pods := "/api/v1/namespaces/" + ns + "/pods/"
	const annotate = `{"metadata":{"annotations":{"ambient.istio.io/redirection":"enabled"}}}`
	for _, c := range []struct{ what, path, json, status string }{
		{"annotation of its own node's pod", pods + "here/status", annotate, "200 OK"},
		{"annotation of another node's pod", pods + "there/status", annotate, ""},
		{"phase of its own node's pod", pods + "here/status", `{"status":{"phase":"Failed"}}`, ""},
		{"another annotation", pods + "here/status", `{"metadata":{"annotations":{"x":"y"}}}`, ""},
		{"a pod itself", pods + "here", annotate, ""},
		{"a node", "/api/v1/nodes/" + nodeA + "/status", annotate, ""},
	} {
		got := patched(t, token, c.path, c.json)
		if c.status != "" && got != c.status || c.status == "" && got != "403 Forbidden" && got != "422 Unprocessable Entity" {
			t.Errorf("%s: %s", c.what, got)
		}
	}
	powerless(t, token, ns, map[string][]string{
		"services": {"get", "services", "-A"}, "nodes": {"get", "nodes"}, "its own node": {"get", "node", nodeA}, "policies": {"get", "authorizationpolicies", "-A"},
		"ConfigMaps": {"-n", "ambit-system", "get", "configmaps"}, "another DaemonSet": {"-n", "ambit-system", "get", "daemonset", "ambit-ztunnel"},
		"slices": {"get", "endpointslices", "-A"}, "events": {"get", "events", "-A"}, "leases": {"get", "leases", "-A"}, "logs": {"-n", ns, "logs", "here"},
	})
	want := []string{"daemonsets.apps [ambit-agent] [get]", "events [] [create patch]", "events.events.k8s.io [] [create patch]", "namespaces [] [list watch]",
		"peerauthentications.security.istio.io [] [list watch]", "pods [] [list watch]", "pods/status [] [patch]"}
	if got := grants(t, token, tokenOf(t, ns, "here", "here", apiAudience), "ambit-system"); !slices.Equal(got, want) {
		t.Errorf("the account may\n%q, and rbac.md says\n%q", got, want)
	}
}

// powerless: the API server forbids requests by the account's rights, and what no part of the mesh on a node may.
func powerless(t *testing.T, token, ns string, requests map[string][]string) {
	t.Helper()
	for what, args := range requests {
		forbidden(t, token, what, args...)
	}
	file := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(file, []byte(pod{namespace: ns, name: "new", node: nodeA}.yaml()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-n", "ambit-system", "get", "secret", "ambit-ca"}, {"-n", "ambit-system", "get", "secrets"}, {"get", "secrets", "-A"}, {"-n", ns, "get", "secrets"},
		{"create", "--validate=false", "-f", file}, {"-n", ns, "delete", "pod", "here", "--dry-run=server"}, {"-n", ns, "delete", "pod", "there", "--dry-run=server"},
		{"-n", ns, "create", "secret", "generic", "x"}, {"-n", ns, "create", "token", "here"}, {"delete", "node", nodeB, "--dry-run=server"},
		{"-n", "ambit-system", "delete", "daemonset", "ambit-agent", "--dry-run=server"}, {"create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", "--user=x"},
	} {
		forbidden(t, token, strings.Join(args, " "), args...)
	}
}

func forbidden(t *testing.T, token, what string, args ...string) {
	t.Helper()
	if err := as(t, token, args...); err == nil || !strings.Contains(err.Error(), "orbidden") {
		t.Errorf("%s: not refused: %v", what, err)
	}
}

// grants are the rights of a token in a namespace, without those that every account has.
func grants(t *testing.T, token, everybody, ns string) []string {
	t.Helper()
	common := rights(t, everybody, ns)
	return slices.DeleteFunc(rights(t, token, ns), func(s string) bool { return slices.Contains(common, s) })
}

func rights(t *testing.T, token, ns string) (all []string) {
	t.Helper()
	out, err := bearing(token, "auth", "can-i", "--list", "--no-headers", "-n", ns)
	if err != nil {
		t.Fatalf("rights: %v: %s", err, out)
	}
	row := regexp.MustCompile(`^(\S+)\s+\[\]\s+(\[.*?\])\s+(\[.*?\])$`)
	for line := range strings.Lines(out) {
		f := row.FindStringSubmatch(strings.TrimSpace(line))
		if f != nil {
			all = append(all, strings.Join(f[1:], " "))
		}
	}
	slices.Sort(all)
	return all
}

// patched is the API server's answer to a patch.
func patched(t *testing.T, token, path, json string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := c.Control.EnterNet(filepath.Join(c.Cache.Bin(), "work"), "patch", file, "10.90.0.1:6443", filepath.Join(c.Dir, "pki/ca.crt"), path, json).CombinedOutput()
	if err != nil {
		t.Fatalf("patch %s: %v: %s", path, err, out)
	}
	return strings.TrimSpace(string(out))
}

// tokenOf makes a token as the kubelet does for a pod.
func tokenOf(t *testing.T, namespace, account, pod, audience string) string {
	t.Helper()
	uid := kubectl(t, "-n", namespace, "get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
	return strings.TrimSpace(kubectl(t, "-n", namespace, "create", "token", account, "--audience="+audience,
		"--bound-object-kind=Pod", "--bound-object-name="+pod, "--bound-object-uid="+uid))
}

func sign(t *testing.T, token, identity string) (string, error) {
	t.Helper()
	return signBy(t, controllers(t)[0].address, token, identity)
}

// signBy asks one replica of the controller, which must prove itself by the root that all share.
func signBy(t *testing.T, controller, token, identity string) (string, error) {
	t.Helper()
	return byToken(t, controller, token, "sign", identity)
}

// byToken asks a controller for something with a token.
func byToken(t *testing.T, controller, token, what string, more ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	root := kubectl(t, "-n", "ambit-system", "get", "configmap", "ambit-ca-root", "-o", `jsonpath={.data.root\.pem}`)
	for name, text := range map[string]string{"token": token, "root.pem": root} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{filepath.Join(c.Cache.Bin(), "work"), what, dir + "/token", controller + ":15012", dir + "/root.pem"}, more...)
	out, err := c.Control.EnterNet(args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return string(out), nil
}

// denied wants PermissionDenied (7) or Unauthenticated (16), not a failure of another kind.
func denied(t *testing.T, token, identity string) {
	t.Helper()
	got, err := sign(t, token, identity)
	if err == nil {
		t.Errorf("asked for %s, got a certificate of %s", identity, got)
	} else if s := err.Error(); !strings.Contains(s, "grpc-status=7") && !strings.Contains(s, "grpc-status=16") {
		t.Errorf("asked for %s: %v", identity, err)
	}
}

// configuration asks the controller for what it tells proxies.
func configuration(t *testing.T, token string) (string, error) {
	t.Helper()
	return byToken(t, controllers(t)[0].address, token, "xds")
}

// noConfiguration wants the stream to be refused, not a failure of another kind.
func noConfiguration(t *testing.T, token string) {
	t.Helper()
	if got, err := configuration(t, token); err == nil || !strings.Contains(err.Error(), "grpc-status=16") {
		t.Errorf("asked for the proxies' configuration: %q, %v", got, err)
	}
}

// as runs kubectl with a token alone.
func as(t *testing.T, token string, args ...string) error {
	t.Helper()
	if out, err := bearing(token, args...); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func bearing(token string, args ...string) (string, error) {
	all := append([]string{filepath.Join(c.Cache.Bin(), "kubectl"), "--kubeconfig=/dev/null", "--cache-dir=" + filepath.Join(c.Dir, "discovery"),
		"--server=https://10.90.0.1:6443", "--certificate-authority=" + filepath.Join(c.Dir, "pki/ca.crt"), "--token=" + token}, args...)
	cmd := c.Control.EnterNet(all...)
	cmd.Stdin = strings.NewReader("\n\n") // it asks for a name and a password where a token is not accepted
	out, err := cmd.CombinedOutput()
	return string(out), err
}
