package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// versionLabel is on every object of manifests/ambit.yaml.
const versionLabel = "app.kubernetes.io/version"

// inNamespace are the kinds of manifests/ambit.yaml that end with the namespace.
var inNamespace = []schema.GroupVersionResource{
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "serviceaccounts"},
	{Version: "v1", Resource: "configmaps"},
	{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
}

// checkLeft names what an upgrade has not renewed: apply removes nothing that newer files do not name.
func (c *Cluster) checkLeft(ctx context.Context) ([]Line, error) {
	d, err := c.Core.AppsV1().Deployments(Namespace).Get(ctx, Controller, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil // said already
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", Controller, err)
	}
	now := d.Labels[versionLabel]
	if now == "" {
		return nil, nil // not from our manifests: who wrote its own has its own versions
	}
	others := "app.kubernetes.io/part-of=ambit," + versionLabel + "," + versionLabel + "!=" + now
	var out []Line
	for _, kind := range slices.Concat(ours, inNamespace) {
		list, err := c.Dynamic.Resource(kind).List(ctx, metav1.ListOptions{LabelSelector: others})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.Resource, err)
		}
		for i := range list.Items {
			out = append(out, left(kind, &list.Items[i], now))
		}
	}
	return append(one(OK, "version", "", "%s", now), out...), nil
}

func left(kind schema.GroupVersionResource, x *unstructured.Unstructured, now string) Line {
	command := []string{"kubectl", "delete", kind.Resource, x.GetName()}
	if ns := x.GetNamespace(); ns != "" {
		command = slices.Insert(command, 1, "-n", ns)
	}
	return Line{
		State: Warn, What: strings.ToLower(x.GetKind()) + " " + x.GetName(),
		Detail: fmt.Sprintf("of version %s, the controller is of %s", x.GetLabels()[versionLabel], now),
		Hint:   "if the manifests of " + now + " do not name it: " + strings.Join(command, " "),
	}
}
