package kube

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestConditions: what became of users' objects is in their status: whether they were understood, who does
// it, and which parts not.
func TestConditions(t *testing.T) {
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "server", node: nodeA})
	service(t, ns, "server")
	applyYAML(t, strings.ReplaceAll(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: whole, namespace: NS}
spec: {rules: [{from: [{source: {namespaces: [NS]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: partly, namespace: NS}
spec:
  rules:
  - from: [{source: {namespaces: [NS]}}]
    to: [{operation: {methods: [GET]}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: NS}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: partly, namespace: NS}
spec: {selector: {matchLabels: {app: server}}, mtls: {mode: DISABLE}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: whole, namespace: NS}
spec: {host: server, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: nobody, namespace: NS}
spec: {host: elsewhere, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5}}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: nobody, namespace: NS}
spec: {jwtRules: [{issuer: "https://issuer.test"}]}
`, "NS", ns))
	for _, x := range []struct {
		object, status, reason string
		words                  []string
	}{
		{"authorizationpolicy/whole", "True", "Enforced", []string{"enforced by ztunnel"}},
		{"authorizationpolicy/partly", "True", "PartlyEnforced", []string{"enforced by ztunnel", "rules[0].to[0].operation.methods", "needs layer 7"}},
		{"peerauthentication/default", "True", "Enforced", []string{"enforced by ztunnel"}},
		{"peerauthentication/partly", "True", "PartlyEnforced", []string{"enforced by ztunnel", "mtls.mode", "PERMISSIVE"}},
		{"destinationrule/whole", "True", "Enforced", []string{"enforced by ztunnel"}},
		{"destinationrule/nobody", "True", "NotEnforced", []string{"host", "elsewhere"}},
		{"requestauthentication/nobody", "True", "NotEnforced", []string{"layer 7"}},
	} {
		awaitThat(t, 30*time.Second, "condition of "+x.object, func() error {
			return hasCondition(t, ns, x.object, x.status, x.reason, x.words...)
		})
	}
	// A change is judged again, and says of which version it speaks.
	kubectl(t, "-n", ns, "patch", "authorizationpolicy", "partly", "--type=json", "-p", `[{"op": "remove", "path": "/spec/rules/0/to"}]`)
	awaitThat(t, 30*time.Second, "condition after a change", func() error {
		return hasCondition(t, ns, "authorizationpolicy/partly", "True", "Enforced", "enforced by ztunnel")
	})
}

// hasCondition looks for AmbitAccepted, about the object as it is now.
func hasCondition(t *testing.T, ns, object, status, reason string, words ...string) error {
	t.Helper()
	raw := kubectl(t, "-n", ns, "get", object, "-o", "json")
	var o struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			Conditions []struct {
				Type, Status, Reason, Message, LastTransitionTime string
				ObservedGeneration                                any
			}
		}
	}
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		return err
	}
	for _, c := range o.Status.Conditions {
		if c.Type != "AmbitAccepted" {
			continue
		}
		if c.Status != status || c.Reason != reason || c.LastTransitionTime == "" || fmt.Sprint(c.ObservedGeneration) != fmt.Sprint(o.Metadata.Generation) {
			return fmt.Errorf("generation %d: %+v", o.Metadata.Generation, c)
		}
		for _, w := range words {
			if !strings.Contains(c.Message, w) {
				return fmt.Errorf("the message %q does not say %q", c.Message, w)
			}
		}
		return nil
	}
	return fmt.Errorf("no condition AmbitAccepted in %+v", o.Status)
}
