package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster"
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

// TestNodeRestart cuts a node's power: its pods come back captured, and the plugin is in the chain, also if
// the primary's installer wrote its file anew while the node was down.
func TestNodeRestart(t *testing.T) {
	t.Run("as it was", func(t *testing.T) { restartNode(t, nil) })
	t.Run("file rewritten", func(t *testing.T) {
		restartNode(t, func(etc string) error {
			files, err := filepath.Glob(filepath.Join(etc, "cni/net.d/*.conflist"))
			if err != nil || len(files) != 1 {
				return fmt.Errorf("files in %s: %v: %w", etc, files, err)
			}
			return os.WriteFile(files[0], []byte(plainChain(c.Node(nodeB))), 0o600)
		})
	})
}

func restartNode(t *testing.T, down func(etc string) error) {
	ns := pair(t)
	outside := namespace(t, false)
	start(t, pod{namespace: outside, name: "stranger", node: nodeA})
	if err := c.Node(nodeB).Restart(t.Context(), down); err != nil {
		t.Fatal(err)
	}
	url := "http://server." + ns + "/"
	// The pod starts again as the kubelet finds it; the proxy and the agent do as well. STRICT holds from its
	// first packet on: a stranger is never answered.
	noAnswer := never(t, outside, "stranger", url)
	if err := ready(t.Context()); err != nil {
		t.Error(err)
	}
	awaitThat(t, 90*time.Second, "the server answers again", func() error {
		_, err := work(t, ns, "client", "get", url, "3s")
		return err
	})
	noAnswer()
	chained(t, nodeB)
	enrolled(t, ns, "server")
}

// plainChain is the primary's file as its installer writes it.
func plainChain(n *cluster.Node) string {
	return fmt.Sprintf(`{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"ptp","ipMasq":false,"mtu":1500,"ipam":{"type":"host-local","dataDir":"/run/cni-ipam","ranges":[[{"subnet":"%s"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}`, n.CIDR)
}

// TestChainIsRestored rewrites the primary's file as its installer does, and takes the plugin out of it. That
// is counted, and for how long.
func TestChainIsRestored(t *testing.T) {
	chained(t, nodeA)
	agent := part(t, "ambit-agent", nodeA)
	restores, missing := counted(t, agent, "ambit_cni_restores_total"), counted(t, agent, "ambit_cni_unchained_seconds_total")
	begin := time.Now()
	a := c.Node(nodeA)
	const rewrite = `cd /etc/cni/net.d && f=$(ls *.conflist | head -n1) && printf '%s' "$1" > new.tmp && mv new.tmp $f`
	if _, err := a.Run(t.Context(), "sh", "-c", rewrite, "sh", plainChain(a)); err != nil {
		t.Fatal(err)
	}
	chained(t, nodeA)
	awaitThat(t, 10*time.Second, "the time without the plugin is counted", func() error {
		n, seconds := counted(t, agent, "ambit_cni_restores_total")-restores, counted(t, agent, "ambit_cni_unchained_seconds_total")-missing
		if n != 1 || seconds <= 0 || seconds > time.Since(begin).Seconds()+1 {
			return fmt.Errorf("put back %v times, without it for %v s", n, seconds)
		}
		return nil
	})
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

func agentsRun(ctx context.Context, t *testing.T, patch string) {
	t.Helper()
	if _, err := c.Kubectl(ctx, "-n", "ambit-system", "patch", "daemonset", "ambit-agent", "--type=merge", "-p", patch); err != nil {
		t.Error(err)
	}
	if err := ready(ctx); err != nil {
		t.Error(err)
	}
}

// containerOf is the runtime's name for a pod's container.
func containerOf(t *testing.T, namespace, pod string) string {
	t.Helper()
	return strings.TrimPrefix(kubectl(t, "-n", namespace, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}"), "containerd://")
}
