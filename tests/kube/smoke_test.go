package kube

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSmoke is the way of a user: label a namespace, look at traffic, write a policy, demand mutual TLS,
// upgrade.
func TestSmoke(t *testing.T) {
	newer := another(t, "v0.1.1-test")
	shop, other := namespace(t, false), namespace(t, false)
	probes := `readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}, livenessProbe: {tcpSocket: {port: 9090}, periodSeconds: 1}, startupProbe: {exec: {command: [/work, get, "http://127.0.0.1:8080/healthz"]}, periodSeconds: 1}`
	start(t, pod{namespace: shop, name: "client", node: nodeA}, pod{namespace: shop, name: "server", node: nodeB, more: probes}, pod{namespace: other, name: "stranger", node: nodeA})
	service(t, shop, "server")
	url := "http://server." + shop + "/"

	t.Run("before", func(t *testing.T) {
		// Proxies may still end what pods of other tests had.
		awaitThat(t, time.Minute, "a call without a tunnel", func() error {
			if n := tunnelled(t, func() { answers(t, shop, "client", url) }); n != 0 {
				return fmt.Errorf("%d packets of tunnels before anything is labelled", n)
			}
			return nil
		})
	})
	t.Run("labelled", func(t *testing.T) {
		kubectl(t, "label", "namespace", shop, "istio.io/dataplane-mode=ambient")
		enrolled(t, shop, "client", "server")
		client := address(t, shop, "client")
		var body string
		n := tunnelled(t, func() { body = answers(t, shop, "client", url) })
		if n == 0 {
			t.Error("no packet of a tunnel on the fabric")
		}
		if !strings.Contains(body, "from="+client) {
			t.Errorf("the server does not see the client's address %s: %s", client, body)
		}
	})
	t.Run("policy", func(t *testing.T) {
		applyYAML(t, fmt.Sprintf(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-client, namespace: %[1]s}
spec:
  selector: {matchLabels: {app: server}}
  action: ALLOW
  rules: [{from: [{source: {principals: ["cluster.local/ns/%[1]s/sa/client"]}}]}]
`, shop))
		refused(t, other, "stranger", url)
		answers(t, shop, "client", url)
		awaitThat(t, 20*time.Second, "reason in the proxy's log", func() error {
			log := kubectl(t, "-n", "ambit-system", "logs", proxy(t, nodeB))
			if lineWith(log, "policy_no_allow", address(t, other, "stranger")) == "" {
				return fmt.Errorf("no line about the stranger and policy_no_allow: %s", tail(log, 600))
			}
			return nil
		})
	})
	t.Run("strict", func(t *testing.T) {
		kubectl(t, "-n", shop, "delete", "authorizationpolicy", "only-client")
		answers(t, other, "stranger", url)
		strict(t, shop)
		refused(t, other, "stranger", url)
		answers(t, shop, "client", url)
		staysReady(t, shop, "server", 6*time.Second)
	})
	t.Run("upgrade", func(t *testing.T) {
		begin := time.Now()
		to := newer(t)
		t.Logf("waited %.1f s for another version to be built", time.Since(begin).Seconds())
		upgrade(t, shop, other, to, 12*time.Second)
		sameAgain(t, to)
	})
	t.Run("unlabelled", func(t *testing.T) {
		kubectl(t, "-n", shop, "delete", "peerauthentication", "default")
		kubectl(t, "label", "namespace", shop, "istio.io/dataplane-mode-")
		retired(t, shop, "client", "server")
		if n := tunnelled(t, func() { answers(t, shop, "client", url) }); n != 0 {
			t.Errorf("%d packets of tunnels after the label was taken off", n)
		}
	})
}

func strict(t *testing.T, namespace string) {
	t.Helper()
	applyYAML(t, fmt.Sprintf(`{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: %s}, spec: {mtls: {mode: STRICT}}}`, namespace))
}

// staysReady watches a pod for a while: it stays ready and no container of it starts again.
func staysReady(t *testing.T, namespace, pod string, length time.Duration) {
	t.Helper()
	state := func() string {
		return kubectl(t, "-n", namespace, "get", "pod", pod, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastTransitionTime} {.status.containerStatuses[*].restartCount}`)
	}
	begin := state()
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if s := state(); s != begin || !strings.HasPrefix(s, "True ") {
			t.Fatalf("pod %s was %q and is %q", pod, begin, s)
		}
	}
}
