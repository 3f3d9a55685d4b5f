package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	admission "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const strictMesh = `{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {namespace: ambit-system, name: all}, spec: {mtls: {mode: STRICT}}}
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {namespace: lax, name: default}, spec: {mtls: {mode: PERMISSIVE}}}
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {namespace: lax, name: one}, spec: {selector: {matchLabels: {a: b}}, mtls: {mode: STRICT}}}
`

func TestCheckWarnsOfWebhooksUnderStrict(t *testing.T) {
	hook := func(name, ns string) admission.ValidatingWebhook {
		return admission.ValidatingWebhook{Name: name, ClientConfig: admission.WebhookClientConfig{Service: &admission.ServiceReference{Namespace: ns, Name: "svc"}}}
	}
	hooks := &admission.ValidatingWebhookConfiguration{ObjectMeta: meta("", "h", nil), Webhooks: []admission.ValidatingWebhook{
		hook("bad", "shop"), hook("lax", "lax"), hook("outside", "plain"), {Name: "url"},
	}}
	c := clusterOf(t, strictMesh, hooks, namespace("shop", "ambient"), namespace("lax", "ambient"), namespace("plain", ""))
	got, err := c.checkWebhooks(t.Context())
	if diff := cmp.Diff([]string{"warn validating webhook bad"}, states(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// What the hint says is found, and what undoes it too.
func TestCheckSeesWebhooksPorts(t *testing.T) {
	hook := func(service string) admission.ValidatingWebhook {
		return admission.ValidatingWebhook{Name: service, ClientConfig: admission.WebhookClientConfig{Service: &admission.ServiceReference{Namespace: "shop", Name: service}}}
	}
	hooks := &admission.ValidatingWebhookConfiguration{ObjectMeta: meta("", "h", nil)}
	objs := []runtime.Object{hooks, namespace("shop", "ambient")}
	behind := func(name string, port intstr.IntOrString, labels map[string]string) {
		hooks.Webhooks = append(hooks.Webhooks, hook(name))
		labels["app"] = name
		p := &corev1.Pod{ObjectMeta: meta("shop", name, labels)}
		p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "hook", ContainerPort: 8443}}}}
		s := &corev1.Service{ObjectMeta: meta("shop", name, nil)}
		s.Spec = corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 443, TargetPort: port}}}
		objs = append(objs, p, s)
	}
	behind("number", intstr.FromInt32(8443), map[string]string{"open": "8443"})
	behind("name", intstr.FromString("hook"), map[string]string{"open": "8443"})
	behind("other", intstr.FromInt32(9443), map[string]string{"open": "8443"})
	behind("none", intstr.FromInt32(8443), map[string]string{labelMode: "none"})
	behind("closed", intstr.FromInt32(8443), map[string]string{})
	got, err := clusterOf(t, strictMesh+`---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {namespace: shop, name: open}, spec: {selector: {matchLabels: {open: "8443"}}, portLevelMtls: {"8443": {mode: PERMISSIVE}}}}
`, objs...).checkWebhooks(t.Context())
	if diff := cmp.Diff([]string{"warn validating webhook other", "warn validating webhook closed"}, states(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
