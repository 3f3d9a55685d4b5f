package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ours are the kinds of manifests/ambit.yaml that would outlive the namespace.
var ours = []schema.GroupVersionResource{
	{Version: "v1", Resource: "namespaces"},
	{Group: "apps", Version: "v1", Resource: "daemonsets"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"},
}

// Leftovers lists what an uninstall should have taken along and did not: objects of Ambit's own, and
// pods that are still marked as captured. Definitions and the users' objects are no leftovers.
func (c *Cluster) Leftovers(ctx context.Context) ([]string, error) {
	var out []string
	for _, kind := range ours {
		list, err := c.Dynamic.Resource(kind).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=ambit"})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.Resource, err)
		}
		for _, x := range list.Items {
			out = append(out, fmt.Sprintf("%s %s", x.GetKind(), x.GetName()))
		}
	}
	pods, err := c.Pods(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		if p.Captured {
			out = append(out, fmt.Sprintf("pod %s/%s is marked as captured", p.Namespace, p.Name))
		}
	}
	return out, nil
}
