package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStolenTokens asks the CA and the API server with tokens that somebody stole.
func TestStolenTokens(t *testing.T) {
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "here", node: nodeA}, pod{namespace: ns, name: "there", node: nodeB})
	here, there := "spiffe://cluster.local/ns/"+ns+"/sa/here", "spiffe://cluster.local/ns/"+ns+"/sa/there"

	t.Run("pod", func(t *testing.T) {
		token := tokenOf(t, ns, "here", "here", "istio-ca")
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
	})
	t.Run("audience", func(t *testing.T) {
		denied(t, tokenOf(t, "ambit-system", "ambit-ztunnel", proxy(t, nodeA), "https://kubernetes.default.svc.cluster.local"), here)
	})
	t.Run("unbound", func(t *testing.T) {
		denied(t, strings.TrimSpace(kubectl(t, "-n", "ambit-system", "create", "token", "ambit-ztunnel", "--audience=istio-ca")), here)
	})
	t.Run("agent", func(t *testing.T) {
		agent := tokenOf(t, "ambit-system", "ambit-agent", part(t, "ambit-agent", nodeA), "https://kubernetes.default.svc.cluster.local")
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
	for what, err := range map[string]error{
		"secrets":           as(t, token, "-n", "ambit-system", "get", "secret", "ambit-ca"),
		"services":          as(t, token, "get", "services", "-A"),
		"deletion of a pod": as(t, token, "-n", ns, "delete", "pod", "here", "--dry-run=server"),
	} {
		if err == nil || !strings.Contains(err.Error(), "orbidden") {
			t.Errorf("%s: not refused: %v", what, err)
		}
	}
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
	dir := t.TempDir()
	root := kubectl(t, "-n", "ambit-system", "get", "configmap", "ambit-ca-root", "-o", `jsonpath={.data.root\.pem}`)
	for name, text := range map[string]string{"token": token, "root.pem": root} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := c.Control.EnterNet(filepath.Join(c.Cache.Bin(), "work"), "sign", dir+"/token", controller+":15012", dir+"/root.pem", identity).CombinedOutput()
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

// as runs kubectl with a token alone.
func as(t *testing.T, token string, args ...string) error {
	t.Helper()
	all := append([]string{filepath.Join(c.Cache.Bin(), "kubectl"), "--kubeconfig=/dev/null", "--cache-dir=" + filepath.Join(c.Dir, "discovery"),
		"--server=https://10.90.0.1:6443", "--certificate-authority=" + filepath.Join(c.Dir, "pki/ca.crt"), "--token=" + token}, args...)
	if out, err := c.Control.EnterNet(all...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
