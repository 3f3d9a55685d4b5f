package cluster

import (
	"context"
	"fmt"

	admission "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var peerAuthentications = schema.GroupVersionResource{Group: "security.istio.io", Version: "v1", Resource: "peerauthentications"}

// checkWebhooks warns of webhooks that the API server could not reach: it calls from outside of the
// mesh, without an identity, and STRICT refuses it.
func (c *Cluster) checkWebhooks(ctx context.Context) ([]Line, error) {
	strict, err := c.strict(ctx)
	if err != nil {
		return nil, err
	}
	modes, err := c.modes(ctx)
	if err != nil {
		return nil, err
	}
	hooks, err := c.webhooks(ctx)
	if err != nil {
		return nil, err
	}
	var out []Line
	for _, h := range hooks {
		if s := h.config.Service; s != nil && modes[s.Namespace] == "ambient" && strict(s.Namespace) {
			out = append(out, one(Warn, h.kind+" "+h.name,
				"set its port to PERMISSIVE in a PeerAuthentication (portLevelMtls), or label its pods "+labelMode+"=none",
				"its service %s/%s is in a STRICT namespace: the API server will be refused", s.Namespace, s.Name)...)
		}
	}
	if len(out) == 0 {
		out = one(OK, "admission webhooks", "", "%d, none in a STRICT namespace", len(hooks))
	}
	return out, nil
}

type webhook struct {
	kind, name string
	config     admission.WebhookClientConfig
}

func (c *Cluster) webhooks(ctx context.Context) (out []webhook, err error) {
	validating, err := c.Core.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	for _, v := range validating.Items {
		for _, h := range v.Webhooks {
			out = append(out, webhook{"validating webhook", h.Name, h.ClientConfig})
		}
	}
	mutating, err := c.Core.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	for _, v := range mutating.Items {
		for _, h := range v.Webhooks {
			out = append(out, webhook{"mutating webhook", h.Name, h.ClientConfig})
		}
	}
	return out, nil
}

// strict tells which namespaces ask for mutual TLS of everybody, by their own PeerAuthentication or by
// the mesh's.
func (c *Cluster) strict(ctx context.Context) (func(namespace string) bool, error) {
	list, err := c.Dynamic.Resource(peerAuthentications).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return func(string) bool { return false }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list peer authentications: %w", err)
	}
	modes := map[string]string{}
	for _, p := range list.Items {
		if mode := wideMode(&p); mode != "" && mode != "UNSET" {
			modes[p.GetNamespace()] = mode
		}
	}
	return func(namespace string) bool {
		if mode, ok := modes[namespace]; ok {
			return mode == "STRICT"
		}
		return modes[Namespace] == "STRICT"
	}, nil
}

// wideMode is the mode of a PeerAuthentication that is for all of its namespace.
func wideMode(p *unstructured.Unstructured) string {
	if selector, ok, err := unstructured.NestedMap(p.Object, "spec", "selector"); ok && err == nil && len(selector) > 0 {
		return ""
	}
	mode, _, err := unstructured.NestedString(p.Object, "spec", "mtls", "mode")
	if err != nil {
		return ""
	}
	return mode
}
