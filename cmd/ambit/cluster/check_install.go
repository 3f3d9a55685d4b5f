package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const applyHint = "kubectl apply --server-side -f manifests/"

func (c *Cluster) checkInstall(ctx context.Context) ([]Line, error) {
	_, err := c.Core.CoreV1().Namespaces().Get(ctx, Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return one(OK, "install", applyHint, "Ambit is not installed"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for namespace %s: %w", Namespace, err)
	}
	var out []Line
	for _, look := range []func(context.Context) ([]Line, error){c.checkController, c.checkRoot, c.checkFence, c.checkSets, c.checkLeft} {
		lines, err := look(ctx)
		if err != nil {
			return out, err
		}
		out = append(out, lines...)
	}
	return out, nil
}

func (c *Cluster) checkController(ctx context.Context) ([]Line, error) {
	d, err := c.Core.AppsV1().Deployments(Namespace).Get(ctx, Controller, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return one(Fail, Controller, applyHint, "no such deployment"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", Controller, err)
	}
	n, hint := d.Status.ReadyReplicas, "kubectl -n "+Namespace+" describe pods -l app.kubernetes.io/name="+Controller
	switch {
	case n == 0:
		return one(Fail, Controller, hint, "no replica is ready: proxies go on with what they know, until certificates expire"), nil
	case n < d.Status.Replicas:
		return one(Warn, Controller, hint, "%d of %d replicas are ready", n, d.Status.Replicas), nil
	}
	return one(OK, Controller, "", "%d replicas are ready", n), nil
}

func (c *Cluster) checkRoot(ctx context.Context) ([]Line, error) {
	m, err := c.Core.CoreV1().ConfigMaps(Namespace).Get(ctx, "ambit-ca-root", metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && m.Data["root.pem"] == "" {
		return one(Fail, "root certificates", "the controller writes it at its first start: kubectl -n "+Namespace+" logs deployment/"+Controller, "ConfigMap ambit-ca-root is not there"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the root certificates: %w", err)
	}
	return one(OK, "root certificates", "", "are published"), nil
}

func (c *Cluster) checkFence(ctx context.Context) ([]Line, error) {
	_, err := c.Core.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(ctx, "ambit-agent-own-node", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return one(Fail, "fence of the agents", applyHint, "a stolen agent token could write about any pod"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the admission policy: %w", err)
	}
	return one(OK, "fence of the agents", "", "agents write about their own node's pods only"), nil
}

func (c *Cluster) checkSets(ctx context.Context) ([]Line, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var out []Line
	for _, x := range []struct {
		name string
		part func(Node) *Part
	}{{Agent, func(n Node) *Part { return n.Agent }}, {Ztunnel, func(n Node) *Part { return n.Ztunnel }}} {
		good := 0
		for _, n := range nodes {
			switch p := x.part(n); {
			case p == nil:
				out = append(out, one(Warn, x.name+" on "+n.Name, "kubectl -n "+Namespace+" describe daemonset "+x.name, "has no pod: this node's pods are not in the mesh")...)
			case !p.Ready:
				out = append(out, one(Fail, x.name+" on "+n.Name, "kubectl -n "+Namespace+" logs "+p.Pod, "is not ready: %s", p.Why)...)
			default:
				good++
			}
		}
		out = append(out, one(OK, x.name, "", "ready on %d of %d nodes", good, len(nodes))...)
	}
	return out, nil
}

// checkPods names those that should be captured and are not.
func (c *Cluster) checkPods(ctx context.Context) ([]Line, error) {
	pods, err := c.Pods(ctx)
	if err != nil {
		return nil, err
	}
	var out []Line
	captured := 0
	for _, p := range pods {
		switch {
		case p.Captured:
			captured++
		case p.Wanted:
			out = append(out, one(Warn, "pod "+p.Namespace+"/"+p.Name, "kubectl -n "+p.Namespace+" describe pod "+p.Name, "is not captured (%s)", p.Why)...)
		}
	}
	return append(one(OK, "pods", "", "%d captured", captured), out...), nil
}
