package kube

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// pair is a client and a server on two nodes, in the mesh, STRICT.
func pair(t *testing.T) string {
	t.Helper()
	ns := namespace(t, true)
	strict(t, ns)
	start(t, pod{namespace: ns, name: "client", node: nodeA}, pod{namespace: ns, name: "server", node: nodeB})
	service(t, ns, "server")
	enrolled(t, ns, "client", "server")
	answers(t, ns, "client", "http://server/")
	return ns
}

// underLoad connects all the time, and holds one connection, while do runs and for a while afterwards.
func underLoad(t *testing.T, ns string, length time.Duration, do func()) {
	t.Helper()
	type result struct {
		what, out string
		err       error
	}
	ended := make(chan result, 2)
	for _, what := range []string{"load", "hold"} {
		go func() {
			out, err := inPod(t, ns, "client", what, "server:9090", length.String())
			ended <- result{what, out, err}
		}()
	}
	time.Sleep(2 * time.Second)
	do()
	for range 2 {
		r := <-ended
		if r.err != nil {
			t.Errorf("%s: %v", r.what, r.err)
		}
		t.Logf("%s for %v: %s", r.what, length, strings.TrimSpace(r.out))
	}
}

// inPod runs the workload's program in a pod through the node's runtime: kubectl exec ends with the API
// server.
func inPod(t *testing.T, ns, pod string, args ...string) (string, error) {
	t.Helper()
	out, err := c.Kubectl(t.Context(), "-n", ns, "get", "pod", pod, "-o", "jsonpath={.spec.nodeName} {.status.containerStatuses[0].containerID}")
	if err != nil {
		return "", err
	}
	at := strings.Fields(out)
	n := c.Node(at[0])
	exec := []string{c.Cache.Bin() + "/ctr", "-n", "k8s.io", "task", "exec", "--exec-id", args[0], strings.TrimPrefix(at[1], "containerd://"), "/work"}
	return n.Run(t.Context(), append(exec, args...)...)
}

// TestRollBoth replaces all agents and all proxies at once.
func TestRollBoth(t *testing.T) {
	ns := pair(t)
	underLoad(t, ns, 24*time.Second, func() {
		kubectl(t, "-n", "ambit-system", "rollout", "restart", "daemonset/ambit-agent", "daemonset/ambit-ztunnel")
		if err := ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
	answers(t, ns, "client", "http://server/")
}

// TestAPIServerAway: nothing changes in the data path; a controller that starts meanwhile serves afterwards.
func TestAPIServerAway(t *testing.T) {
	ns := pair(t)
	underLoad(t, ns, 20*time.Second, func() {
		if err := c.Control.Hold("kube-apiserver"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Second)
		if err := c.Control.Release("kube-apiserver"); err != nil {
			t.Fatal(err)
		}
	})
	awaitThat(t, time.Minute, "API server", func() error {
		_, err := c.Kubectl(t.Context(), "get", "--raw", "/readyz")
		return err
	})
	start(t, pod{namespace: ns, name: "later", node: nodeA})
	enrolled(t, ns, "later")
	answers(t, ns, "later", "http://server/")
}

// TestControllersRestart ends both replicas at once under load.
func TestControllersRestart(t *testing.T) {
	ns := pair(t)
	underLoad(t, ns, 15*time.Second, func() {
		kubectl(t, "-n", "ambit-system", "delete", "pods", "-l", "app.kubernetes.io/name=ambit-controller", "--grace-period=1", "--wait=true")
		if err := ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
	start(t, pod{namespace: ns, name: "later", node: nodeA})
	enrolled(t, ns, "later")
	answers(t, ns, "later", "http://server/")
}

// TestLabelCycles labels and unlabels a namespace under traffic.
func TestLabelCycles(t *testing.T) {
	cycles := 10
	if full() {
		cycles = 100
	}
	ns := namespace(t, false)
	start(t, pod{namespace: ns, name: "client", node: nodeA}, pod{namespace: ns, name: "server", node: nodeB})
	service(t, ns, "server")
	answers(t, ns, "client", "http://server/")
	length := time.Duration(cycles)*1200*time.Millisecond + 5*time.Second
	underLoad(t, ns, length, func() {
		for range cycles {
			kubectl(t, "label", "namespace", ns, "istio.io/dataplane-mode=ambient")
			time.Sleep(500 * time.Millisecond)
			kubectl(t, "label", "namespace", ns, "istio.io/dataplane-mode-")
			time.Sleep(500 * time.Millisecond)
		}
	})
	kubectl(t, "label", "namespace", ns, "istio.io/dataplane-mode=ambient")
	enrolled(t, ns, "client", "server")
	answers(t, ns, "client", "http://server/")
}

// TestNodeRestart cuts a node's power: its pods come back captured, and the plugin is in the chain.
func TestNodeRestart(t *testing.T) {
	ns := pair(t)
	b := c.Node(nodeB)
	if err := b.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The pod starts again as the kubelet finds it; the proxy and the agent do as well.
	if err := ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitThat(t, 90*time.Second, "the server answers again", func() error {
		_, err := work(t, ns, "client", "get", "http://server/", "3s")
		return err
	})
	chained(t, nodeB)
}

// TestChainIsRestored rewrites the primary's file as its installer does, and takes the plugin out of it.
func TestChainIsRestored(t *testing.T) {
	chained(t, nodeA)
	a := c.Node(nodeA)
	const rewrite = `cd /etc/cni/net.d && f=$(ls *.conflist | head -n1) && printf '%s' "$1" > new.tmp && mv new.tmp $f`
	was, err := a.Run(t.Context(), "sh", "-c", "cat /etc/cni/net.d/*.conflist")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(was, "ambit") {
		t.Fatalf("not chained: %s", was)
	}
	plain := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"ptp","ipMasq":false,"mtu":1500,"ipam":{"type":"host-local","dataDir":"/run/cni-ipam","ranges":[[{"subnet":"%s"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}`, a.CIDR)
	if _, err := a.Run(t.Context(), "sh", "-c", rewrite, "sh", plain); err != nil {
		t.Fatal(err)
	}
	chained(t, nodeA)
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "pod", node: nodeA})
	enrolled(t, ns, "pod")
}

func chained(t *testing.T, node string) {
	t.Helper()
	awaitThat(t, 10*time.Second, "plugin in the chain of "+node, func() error {
		out, err := c.Node(node).Run(t.Context(), "sh", "-c", "cat /etc/cni/net.d/*.conflist; ls /opt/cni/bin")
		if err == nil && strings.Count(out, "ambit-cni") < 2 {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
}

// TestAgentAway: without an agent, CoreDNS and pods outside of the mesh start.
func TestAgentAway(t *testing.T) {
	kubectl(t, "-n", "ambit-system", "patch", "daemonset", "ambit-agent", "--type=merge", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"none"}}}}}`)
	t.Cleanup(func() {
		_, err := c.Kubectl(context.Background(), "-n", "ambit-system", "patch", "daemonset", "ambit-agent", "--type=merge", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":null}}}}}`)
		if err != nil {
			t.Error(err)
		}
		if err := ready(context.Background()); err != nil {
			t.Error(err)
		}
	})
	awaitThat(t, time.Minute, "no agent", func() error {
		out, err := c.Kubectl(t.Context(), "-n", "ambit-system", "get", "pods", "-l", "app.kubernetes.io/name=ambit-agent", "-o", "name")
		if err == nil && out != "" {
			err = fmt.Errorf("still there: %s", out)
		}
		return err
	})
	kubectl(t, "-n", "kube-system", "delete", "pods", "-l", "k8s-app=kube-dns")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s")
	out := namespace(t, false)
	start(t, pod{namespace: out, name: "outside", node: nodeA})
}
