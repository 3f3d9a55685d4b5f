package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// checkMeshes looks for others that redirect the same pods.
func (c *Cluster) checkMeshes(ctx context.Context) ([]Line, error) {
	sets, err := c.Core.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list daemon sets: %w", err)
	}
	var out []Line
	for i := range sets.Items {
		out = append(out, checkSet(&sets.Items[i])...)
	}
	injected, err := c.checkInjection(ctx)
	if out = append(out, injected...); len(out) == 0 && err == nil {
		out = one(OK, "other meshes", "", "none on the nodes")
	}
	return out, err
}

func checkSet(s *appsv1.DaemonSet) []Line {
	what := "daemon set " + s.Namespace + "/" + s.Name
	labels := []string{s.Name, s.Labels["app"], s.Labels["k8s-app"], s.Labels["app.kubernetes.io/name"], s.Spec.Template.Labels["app"], s.Spec.Template.Labels["k8s-app"]}
	is := func(names ...string) bool {
		for _, have := range labels {
			if slices.Contains(names, have) {
				return true
			}
		}
		return false
	}
	switch {
	case s.Namespace == Namespace:
		return nil
	case is("istio-cni-node", "istio-cni", "ztunnel"):
		return one(Fail, what, "remove Istio's ambient mode (istio-cni and ztunnel) first: two agents would redirect the same pods", "Istio's own agent or proxy is on the nodes")
	case is("linkerd-cni", "kuma-cni", "consul-cni"):
		return one(Warn, what, "do not label the namespaces that it serves: a pod can be in one mesh only", "another mesh's CNI plugin is on the nodes")
	}
	return nil
}

// checkInjection warns of namespaces whose pods get a sidecar and are captured too.
func (c *Cluster) checkInjection(ctx context.Context) ([]Line, error) {
	list, err := c.Core.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: labelMode + "=ambient"})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var out []Line
	for _, n := range list.Items {
		for label, value := range map[string]string{"istio-injection": n.Labels["istio-injection"], "linkerd.io/inject": n.Annotations["linkerd.io/inject"]} {
			if strings.HasPrefix(value, "enabled") {
				out = append(out, one(Warn, "namespace "+n.Name, "take one of them away", "is labelled ambient, and %s adds a sidecar to its pods", label)...)
			}
		}
	}
	return out, nil
}
