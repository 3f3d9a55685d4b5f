package cluster

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

// An upgrade that dropped or renamed an object leaves the old one; what is not ours, or has no version, is
// nobody's leftover.
func TestCheckNamesWhatAnOlderVersionLeft(t *testing.T) {
	const objects = `
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: ambit-former, labels: {app.kubernetes.io/part-of: ambit, app.kubernetes.io/version: v1}}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: ambit-agent, labels: {app.kubernetes.io/part-of: ambit, app.kubernetes.io/version: v2}}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: another, labels: {app.kubernetes.io/part-of: another, app.kubernetes.io/version: v1}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: ambit-former, namespace: ambit-system, labels: {app.kubernetes.io/part-of: ambit, app.kubernetes.io/version: v1}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: ambit-ca-root, namespace: ambit-system, labels: {app.kubernetes.io/part-of: ambit}}}
`
	c := clusterOf(t, objects, &appsv1.Deployment{ObjectMeta: meta(Namespace, Controller, map[string]string{versionLabel: "v2"})})
	lines, err := c.checkLeft(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var hints []string
	for _, l := range lines {
		if l.State == Warn {
			hints = append(hints, l.Hint)
		}
	}
	want := "if the manifests of v2 do not name it: kubectl delete clusterroles ambit-former\n" +
		"if the manifests of v2 do not name it: kubectl -n ambit-system delete configmaps ambit-former"
	if got := strings.Join(hints, "\n"); got != want {
		t.Errorf("hints\n%s\nwant\n%s", got, want)
	}
}
