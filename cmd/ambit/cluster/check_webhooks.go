package cluster

import (
	"cmp"
	"context"
	"fmt"

	admission "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// checkWebhooks warns of webhooks that the API server could not reach: it calls from outside of the
// mesh, without an identity, and STRICT refuses it.
func (c *Cluster) checkWebhooks(ctx context.Context) ([]Line, error) {
	all, err := c.peers(ctx)
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
		s := h.config.Service
		if s == nil {
			continue
		}
		refuses, err := c.refuses(ctx, s, modes[s.Namespace], all)
		if err != nil {
			return out, err
		}
		if refuses {
			out = append(out, one(Warn, h.kind+" "+h.name,
				"set its port to PERMISSIVE in a PeerAuthentication (portLevelMtls), or label its pods "+labelMode+"=none",
				"its service %s/%s is in a STRICT namespace: the API server will be refused", s.Namespace, s.Name)...)
		}
	}
	if len(out) == 0 {
		out = one(OK, "admission webhooks", "", "%d, none behind STRICT", len(hooks))
	}
	return out, nil
}

// refuses tells whether pods behind a webhook's service refuse who has no identity. Without pods, the
// namespace counts.
func (c *Cluster) refuses(ctx context.Context, ref *admission.ServiceReference, mode string, all peers) (bool, error) {
	pods, s, err := c.behind(ctx, ref)
	if err != nil {
		return false, err
	}
	if len(pods) == 0 {
		return mode == "ambient" && all.strict(ref.Namespace, nil, 0), nil
	}
	for i := range pods {
		p := &pods[i]
		if podOf(p, mode).Wanted && all.strict(p.Namespace, p.Labels, targetPort(s, p, ref.Port)) {
			return true, nil
		}
	}
	return false, nil
}

// behind returns the pods that a service selects; none if it is not there or selects none.
func (c *Cluster) behind(ctx context.Context, ref *admission.ServiceReference) ([]corev1.Pod, *corev1.Service, error) {
	s, err := c.Core.CoreV1().Services(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && len(s.Spec.Selector) == 0 {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look for a webhook's service: %w", err)
	}
	list, err := c.Core.CoreV1().Pods(ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(s.Spec.Selector).String()})
	if err != nil {
		return nil, nil, fmt.Errorf("list a webhook's pods: %w", err)
	}
	return list.Items, s, nil
}

// targetPort is a pod's port behind a service's, which is 443 if nothing is said; 0: none.
func targetPort(s *corev1.Service, p *corev1.Pod, port *int32) int32 {
	want := int32(443)
	if port != nil {
		want = *port
	}
	for _, x := range s.Spec.Ports {
		switch {
		case x.Port != want:
		case x.TargetPort.StrVal != "":
			return namedPort(p, x.TargetPort.StrVal)
		default:
			return cmp.Or(x.TargetPort.IntVal, want)
		}
	}
	return 0
}

func namedPort(p *corev1.Pod, name string) int32 {
	for _, x := range p.Spec.Containers {
		for _, port := range x.Ports {
			if port.Name == name {
				return port.ContainerPort
			}
		}
	}
	return 0
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
