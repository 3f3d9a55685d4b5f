package netns

import (
	"fmt"
	"strings"
	"testing"
)

// authorize writes an AuthorizationPolicy for the pods app=<app> ("": the whole namespace). rules is
// YAML, two spaces deep.
func (m *mesh) authorize(t *testing.T, namespace, name, app, action, rules string) {
	t.Helper()
	selector := ""
	if app != "" {
		selector = fmt.Sprintf("  selector: {matchLabels: {app: %s}}\n", app)
	}
	must(t, m.Apply("policy-"+namespace+"-"+name, fmt.Sprintf(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: %s, namespace: %s}
spec:
%s  action: %s
  rules:
%s`, name, namespace, selector, action, strings.TrimPrefix(rules, "\n"))))
}

func (m *mesh) forgetPolicy(t *testing.T, namespace, name string) {
	t.Helper()
	must(t, m.Remove("policy-"+namespace+"-"+name))
}

// mtls sets the PeerAuthentication of a namespace, or takes it away with "".
func (m *mesh) mtls(t *testing.T, namespace, mode string) {
	t.Helper()
	if mode == "" {
		must(t, m.Remove("mtls-"+namespace))
		return
	}
	must(t, m.Apply("mtls-"+namespace, fmt.Sprintf(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: %s}
spec: {mtls: {mode: %s}}
`, namespace, mode)))
}

// eject sets the outlier detection of a service.
func (m *mesh) eject(t *testing.T, namespace, service, base string) {
	t.Helper()
	must(t, m.Apply("rule-"+namespace+"-"+service, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  host: %[2]s.%[1]s.svc.cluster.local
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 5, interval: 1s, baseEjectionTime: %[3]s, maxEjectionPercent: 50}
`, namespace, service, base)))
}
