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
		if got, err := sign(t, token, ""); err != nil || strings.TrimSpace(got) != here {
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
	mark := func(pod, json string, more ...string) error {
		return as(t, token, append([]string{"-n", ns, "patch", "pod", pod, "--type=merge", "-p", json}, more...)...)
	}
	const annotate = `{"metadata":{"annotations":{"ambient.istio.io/redirection":"enabled"}}}`
	if err := mark("here", annotate, "--subresource=status"); err != nil {
		t.Errorf("annotation of its own node's pod: %v", err)
	}
	for what, err := range map[string]error{
		"annotation of another node's pod": mark("there", annotate, "--subresource=status"),
		"phase of its own node's pod":      mark("here", `{"status":{"phase":"Failed"}}`, "--subresource=status"),
		"label of its own node's pod":      mark("here", `{"metadata":{"labels":{"app":"there"}}}`, "--subresource=status"),
		"another annotation":               mark("here", `{"metadata":{"annotations":{"x":"y"}}}`, "--subresource=status"),
		"a pod itself":                     mark("here", annotate),
		"secrets":                          as(t, token, "-n", "ambit-system", "get", "secret", "ambit-ca"),
		"services":                         as(t, token, "get", "services", "-A"),
		"deletion of a pod":                as(t, token, "-n", ns, "delete", "pod", "here", "--dry-run=server"),
	} {
		if err == nil || !(strings.Contains(err.Error(), "orbidden") || strings.Contains(err.Error(), "denied")) {
			t.Errorf("%s: not refused: %v", what, err)
		}
	}
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
	dir := t.TempDir()
	root := kubectl(t, "-n", "ambit-system", "get", "configmap", "ambit-ca-root", "-o", `jsonpath={.data.root\.pem}`)
	for name, text := range map[string]string{"token": token, "root.pem": root} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	controller := kubectl(t, "-n", "ambit-system", "get", "pods", "-l", "app.kubernetes.io/name=ambit-controller", "-o", "jsonpath={.items[0].status.podIP}")
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
