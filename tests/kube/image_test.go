package kube

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAgentImageMissing applies manifests with an image of the agent that is nowhere. CoreDNS and pods outside
// of the mesh start all the same.
func TestAgentImageMissing(t *testing.T) {
	t.Cleanup(func() {
		ctx := context.Background()
		if err := ours.apply(ctx); err != nil {
			t.Error(err)
		}
		if err := ready(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("at an upgrade", missingAtUpgrade)
	t.Run("at the install", missingAtInstall)
}

// missingAtUpgrade: the plugin is there. A pod of the mesh waits for the agent, and is told why it does not
// start; on the nodes whose turn does not come nothing changes.
func missingAtUpgrade(t *testing.T) {
	in, out := namespace(t, true), namespace(t, false)
	start(t, pod{namespace: in, name: "a", node: nodeA}, pod{namespace: in, name: "b", node: nodeB})
	enrolled(t, in, "a", "b")
	kubectl(t, "apply", "--server-side", "-f", withoutImage(t))
	node := noImage(t, 1)[0]
	dnsStarts(t, node)
	start(t, pod{namespace: out, name: "outside", node: node})
	for from, to := range map[string]string{"a": "b", "b": "a"} { // what is enrolled stays so
		answers(t, in, from, "http://"+address(t, in, to)+":8080/")
	}
	told, err := ambit(t, "check", "--kube")
	if lineWith(told, "FAIL", "ambit-agent on "+node, "image") == "" {
		t.Errorf("ambit check does not say why the agent is away: %v\n%s", err, told)
	}

	applyYAML(t, pod{namespace: in, name: "held", node: node}.yaml())
	awaitThat(t, 100*time.Second, "reason why the pod does not start", func() error {
		why, err := c.Kubectl(t.Context(), "-n", in, "get", "events", "--field-selector", "involvedObject.name=held,reason=FailedCreatePodSandBox", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(why, "not in the mesh yet: the agent did not answer") {
			err = fmt.Errorf("events: %q", why)
		}
		return err
	})
	if phase := kubectl(t, "-n", in, "get", "pod", "held", "-o", "jsonpath={.status.phase}"); phase != "Pending" {
		t.Errorf("the pod that waits for the agent is %s", phase)
	}
	agentHeals(t)
	kubectl(t, "-n", in, "wait", "--for=condition=Ready", "pod/held", "--timeout=120s")
	enrolled(t, in, "held")
}

// missingAtInstall: nodes on which no agent ever ran know nothing of the mesh. Pods start as they would
// without it, and are in it once there is an agent.
func missingAtInstall(t *testing.T) {
	uninstall(t)
	for _, n := range c.Nodes {
		if left, err := n.Run(t.Context(), "sh", "-c", "ls /opt/cni/bin /etc/cni/net.d; cat /etc/cni/net.d/*.conflist"); err != nil || strings.Contains(left, "ambit") {
			t.Fatalf("%s knows of the mesh: %v\n%s", n.Name, err, left)
		}
	}
	in, out := namespace(t, true), namespace(t, false)
	kubectl(t, "apply", "--server-side", "-f", withoutImage(t))
	noImage(t, len(c.Nodes))
	dnsStarts(t, nodeA)
	start(t, pod{namespace: out, name: "outside", node: nodeA}, pod{namespace: in, name: "early", node: nodeA}, pod{namespace: in, name: "far", node: nodeB})
	service(t, in, "far")
	answers(t, in, "early", "http://far/")
	for _, p := range []string{"early", "far"} {
		if err := marked(t, in, p, ""); err != nil {
			t.Error(err)
		}
	}
	agentHeals(t)
	enrolled(t, in, "early", "far")
	takes(t, in, byMesh, func() { answers(t, in, "early", "http://far/") })
}

// noImage waits until the kubelets of some nodes say that there is no image for the agent.
func noImage(t *testing.T, count int) (nodes []string) {
	t.Helper()
	awaitThat(t, 90*time.Second, "agents without an image", func() error {
		out, err := c.Kubectl(t.Context(), "-n", "ambit-system", "get", "pods", "-l", "app.kubernetes.io/name=ambit-agent", "-o", `jsonpath={range .items[*]}{.spec.nodeName} {.status.containerStatuses[0].state.waiting.reason}{"\n"}{end}`)
		nodes = nil
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) == 2 && (f[1] == "ErrImagePull" || f[1] == "ImagePullBackOff") {
				nodes = append(nodes, f[0])
			}
		}
		if err == nil && len(nodes) != count {
			err = fmt.Errorf("not %d: %s", count, out)
		}
		return err
	})
	return nodes
}

// dnsStarts replaces CoreDNS, on this node.
func dnsStarts(t *testing.T, node string) {
	t.Helper()
	for _, n := range c.Nodes {
		if n.Name != node {
			kubectl(t, "cordon", n.Name)
			defer kubectl(t, "uncordon", n.Name)
		}
	}
	kubectl(t, "-n", "kube-system", "delete", "pods", "-l", "k8s-app=kube-dns")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s")
}

func agentHeals(t *testing.T) {
	t.Helper()
	if err := ours.apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}
