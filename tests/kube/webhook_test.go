package kube

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// TestWebhookUnderStrict: the API server calls a webhook's pod itself and has no identity: STRICT refuses
// it and the check warns of that; what its hint says makes the webhook work.
func TestWebhookUnderStrict(t *testing.T) {
	ns := namespace(t, true)
	hook(t, ns)
	awaitThat(t, 30*time.Second, "the webhook decides", func() error { return decides(t, ns, "before") })

	strict(t, ns)
	awaitThat(t, 30*time.Second, "the API server is refused", func() error {
		err := configMap(t, ns, "strict", "")
		if err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
			return fmt.Errorf("create: %v", err)
		}
		return nil
	})
	what := "webhook hook." + ns + ".test"
	told, err := ambit(t, "check", "--kube")
	if line := lineWith(told, "warn", what); err != nil || !strings.Contains(line, "STRICT") || !strings.Contains(line, "portLevelMtls") {
		t.Errorf("ambit check does not warn: %v\n%s", err, told)
	}

	applyYAML(t, fmt.Sprintf(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: hook, namespace: %s}
spec:
  selector: {matchLabels: {app: hook}}
  portLevelMtls: {8443: {mode: PERMISSIVE}}
`, ns))
	awaitThat(t, 30*time.Second, "the webhook decides", func() error { return decides(t, ns, "permissive") })
	if told, err := ambit(t, "check", "--kube"); err != nil || lineWith(told, "warn", what) != "" {
		t.Errorf("ambit check still warns: %v\n%s", err, told)
	}
}

// decides creates one object that the webhook allows and one that it forbids.
func decides(t *testing.T, ns, name string) error {
	t.Helper()
	if err := configMap(t, ns, name, `forbidden: "yes"`); err == nil || !strings.Contains(err.Error(), "the webhook forbids it") {
		return fmt.Errorf("create what is forbidden: %v", err)
	}
	if err := configMap(t, ns, name, ""); err != nil {
		return fmt.Errorf("create what is allowed: %w", err)
	}
	return nil
}

func configMap(t *testing.T, ns, name, labels string) error {
	t.Helper()
	yaml := fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: %s, labels: {hooked: please, %s}}}", name, ns, labels)
	return c.Apply(t.Context(), yaml)
}

// hook starts a webhook that is asked about labelled ConfigMaps of its namespace, and waits until it is in
// the mesh.
func hook(t *testing.T, ns string) {
	t.Helper()
	cert, key := certificate(t, "hook."+ns+".svc")
	env := fmt.Sprintf(`env: [{name: CERT, value: %q}, {name: KEY, value: %q}]`, cert, key)
	start(t, pod{namespace: ns, name: "hook", node: nodeA, args: []string{"webhook"}, more: env + ", readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}"})
	enrolled(t, ns, "hook")
	t.Cleanup(func() {
		if _, err := c.Kubectl(context.Background(), "delete", "--ignore-not-found", "validatingwebhookconfiguration", ns); err != nil {
			t.Error(err)
		}
	})
	applyYAML(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: hook, namespace: %[1]s}
spec: {selector: {app: hook}, ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: %[1]s}
webhooks:
- name: hook.%[1]s.test
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 3
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
  objectSelector: {matchLabels: {hooked: please}}
  rules: [{apiGroups: [""], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}]
  clientConfig: {service: {namespace: %[1]s, name: hook}, caBundle: %[2]s}
`, ns, base64.StdEncoding.EncodeToString([]byte(cert))))
}

// certificate makes one of a server that is its own authority, as PEM.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return text("CERTIFICATE", der), text("PRIVATE KEY", pkcs8)
}
