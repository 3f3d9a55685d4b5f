package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Part is one of the mesh's own pods.
type Part struct {
	Pod   string
	Image string // its tag is the version
	Ready bool
	Why   string // not ready
}

// Node is a node with the mesh's parts on it; nil where one is missing.
type Node struct {
	Name    string
	Kernel  string
	Agent   *Part
	Ztunnel *Part
}

// Nodes lists the nodes on which a part of the mesh runs or should run, by name.
func (c *Cluster) Nodes(ctx context.Context) ([]Node, error) {
	nodes, err := c.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/os=linux"})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	agents, err := c.parts(ctx, Agent)
	if err != nil {
		return nil, err
	}
	proxies, err := c.parts(ctx, Ztunnel)
	if err != nil {
		return nil, err
	}
	out := make([]Node, 0, len(nodes.Items))
	for _, n := range nodes.Items {
		out = append(out, Node{Name: n.Name, Kernel: n.Status.NodeInfo.KernelVersion, Agent: agents[n.Name], Ztunnel: proxies[n.Name]})
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// parts finds the pod of a part on each node. During an upgrade a node has two proxies: the newest that
// is ready counts.
func (c *Cluster) parts(ctx context.Context, name string) (map[string]*Part, error) {
	pods, err := c.Core.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + name})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", name, err)
	}
	best := map[string]*corev1.Pod{}
	for i := range pods.Items {
		p := &pods.Items[i]
		if old := best[p.Spec.NodeName]; p.Spec.NodeName != "" && (old == nil || better(p, old)) {
			best[p.Spec.NodeName] = p
		}
	}
	out := map[string]*Part{}
	for node, p := range best {
		out[node] = partOf(p)
	}
	return out, nil
}

// Replicas lists the controller's pods that are ready.
func (c *Cluster) Replicas(ctx context.Context) (pods []string, err error) {
	list, err := c.Core.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + Controller})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", Controller, err)
	}
	for i := range list.Items {
		if serving(&list.Items[i]) {
			pods = append(pods, list.Items[i].Name)
		}
	}
	return pods, nil
}

func better(a, b *corev1.Pod) bool {
	if x, y := serving(a), serving(b); x != y {
		return x
	}
	return b.CreationTimestamp.Before(&a.CreationTimestamp)
}

func serving(p *corev1.Pod) bool { return ready(p) && p.DeletionTimestamp == nil }

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func partOf(p *corev1.Pod) *Part {
	x := &Part{Pod: p.Name, Ready: ready(p)}
	if len(p.Spec.Containers) > 0 {
		x.Image = p.Spec.Containers[0].Image
	}
	if !x.Ready {
		x.Why = whyNot(p)
	}
	return x
}

// whyNot is what the kubelet says of a pod that is not ready.
func whyNot(p *corev1.Pod) string {
	for _, s := range p.Status.ContainerStatuses {
		last := s.LastTerminationState.Terminated
		switch {
		case s.State.Waiting != nil && last != nil:
			return s.State.Waiting.Reason + ": " + ended(last)
		case s.State.Waiting != nil:
			return cmp.Or(s.State.Waiting.Message, s.State.Waiting.Reason)
		case s.State.Terminated != nil:
			return ended(s.State.Terminated)
		case !s.Ready && last != nil:
			return "runs again: " + ended(last)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			return c.Message
		}
	}
	return "phase " + string(p.Status.Phase)
}

func ended(s *corev1.ContainerStateTerminated) string {
	return fmt.Sprintf("ended with code %d %s", s.ExitCode, s.Message)
}
