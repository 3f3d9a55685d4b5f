package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	labelMode   = "istio.io/dataplane-mode"
	redirection = "ambient.istio.io/redirection" // written by the agent on what it has captured
)

// Pod is a pod that is in the mesh or should be.
type Pod struct {
	Namespace, Name, UID, Node string
	Addresses                  []string
	Wanted                     bool
	Captured                   bool
	Why                        string // a label, or what keeps it out
}

// Pods lists the pods that are in the mesh or should be, by name.
func (c *Cluster) Pods(ctx context.Context) ([]Pod, error) {
	namespaces, err := c.modes(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := c.Core.CoreV1().Pods("").List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	events := c.warnings(ctx)
	var out []Pod
	for i := range pods.Items {
		p := podOf(&pods.Items[i], namespaces[pods.Items[i].Namespace])
		if !p.Wanted && !p.Captured {
			continue
		}
		if why := events[p.UID]; why != "" && !p.Captured {
			p.Why = why
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// modes are the namespaces' labels.
func (c *Cluster) modes(ctx context.Context) (map[string]string, error) {
	list, err := c.Core.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	out := map[string]string{}
	for _, n := range list.Items {
		out[n.Name] = n.Labels[labelMode]
	}
	return out, nil
}

// podOf repeats the agent's rule: the pod's label decides, else the namespace's; the node's own network
// and pods that have ended are never captured.
func podOf(p *corev1.Pod, namespaceMode string) Pod {
	x := Pod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Node: p.Spec.NodeName, Captured: p.Annotations[redirection] == "enabled"}
	for _, ip := range p.Status.PodIPs {
		x.Addresses = append(x.Addresses, ip.IP)
	}
	mode, from := p.Labels[labelMode], "pod label"
	if mode == "" {
		mode, from = namespaceMode, "namespace label"
	}
	x.Why = from
	if mode == "" {
		x.Why = "no label"
	}
	x.Wanted = mode == "ambient" && !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
	return x
}

// warnings are the last words on pods that could not be enrolled, by the pod's uid: of agents, or of the
// CNI plugin through kubelet. Whoever may not read events goes without.
func (c *Cluster) warnings(ctx context.Context) map[string]string {
	list, err := c.Core.CoreV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod,type=Warning"})
	out := map[string]string{}
	if err != nil {
		return out
	}
	at := map[string]metav1.Time{}
	for _, e := range list.Items {
		message := complaint(&e)
		if message == "" {
			continue
		}
		uid, when := string(e.InvolvedObject.UID), e.LastTimestamp
		if when.IsZero() {
			when = e.CreationTimestamp
		}
		if last, ok := at[uid]; !ok || last.Before(&when) {
			at[uid], out[uid] = when, message
		}
	}
	return out
}

// complaint is what an event says about enrolment, "" if it is about something else.
func complaint(e *corev1.Event) string {
	if cmp.Or(e.ReportingController, e.Source.Component) == Agent {
		return e.Message
	}
	if _, why, ok := strings.Cut(e.Message, "ambit-cni: "); ok && e.Reason == "FailedCreatePodSandBox" {
		return why
	}
	return ""
}
