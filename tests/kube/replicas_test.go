package kube

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster"
)

// replica is one controller.
type replica struct {
	name, address, container string
	node                     *cluster.Node
}

func controllers(t *testing.T) (all []replica) {
	t.Helper()
	out := kubectl(t, "-n", "ambit-system", "get", "pods", "-l", "app.kubernetes.io/name=ambit-controller", "--field-selector", "status.phase=Running",
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.spec.nodeName} {.status.containerStatuses[0].containerID}{"\n"}{end}`)
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 4 {
			t.Fatalf("controllers: %s", out)
		}
		all = append(all, replica{f[0], f[1], strings.TrimPrefix(f[3], "containerd://"), c.Node(f[2])})
	}
	if len(all) == 0 {
		t.Fatal("no controller runs")
	}
	return all
}

// TestOneRoot: the two replicas that started at once in an empty cluster sign under one root.
func TestOneRoot(t *testing.T) {
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "here", node: nodeA})
	id := "spiffe://cluster.local/ns/" + ns + "/sa/here"
	token := tokenOf(t, ns, "here", "here", "istio-ca")
	all := controllers(t)
	if len(all) != 2 {
		t.Fatalf("%d controllers", len(all))
	}
	for _, r := range all {
		if got, err := signBy(t, r.address, token, id); err != nil || strings.TrimSpace(got) != id {
			t.Errorf("%s: %q, %v", r.name, got, err)
		}
	}
	if root := kubectl(t, "-n", "ambit-system", "get", "configmap", "ambit-ca-root", "-o", `jsonpath={.data.root\.pem}`); strings.Count(root, "BEGIN CERTIFICATE") != 1 {
		t.Errorf("not one root:\n%s", root)
	}
}

// served returns the replica that serves a node's proxy, and the other.
func served(t *testing.T, node string) (its, other replica) {
	t.Helper()
	all := controllers(t)
	if len(all) != 2 {
		t.Fatalf("%d controllers", len(all))
	}
	from := address(t, "ambit-system", proxy(t, node))
	awaitThat(t, 30*time.Second, "stream of the proxy of "+node, func() error {
		for i, r := range all {
			there, err := connected(t, r, from)
			if err != nil {
				return err
			}
			if there {
				its, other = all[i], all[1-i]
				return nil
			}
		}
		return fmt.Errorf("neither controller has a connection from %s", from)
	})
	return its, other
}

// connected says whether a proxy's address has a connection to a replica.
func connected(t *testing.T, r replica, from string) (bool, error) {
	t.Helper()
	peers, err := r.node.Run(t.Context(), "sh", "-c", "nsenter -t $("+pidOf(r.container)+") -n ss -Htn state established 'sport = :15012'")
	return strings.Contains(peers, from+":") || strings.Contains(peers, from+"]:"), err
}

// cut drops what a pod and the API server say to each other; the connections stay open, and are silent.
func cut(t *testing.T, r replica) (uncut func()) {
	t.Helper()
	const table = "ambit_test_cut"
	rules := fmt.Sprintf("table inet %[1]s { chain f { type filter hook forward priority -300; ip saddr %[2]s tcp dport 6443 drop; ip daddr %[2]s tcp sport 6443 drop; }; }", table, r.address)
	cmd := r.node.EnterNet("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cut %s from the API server: %v: %s", r.name, err, out)
	}
	done := false
	uncut = func() {
		if done {
			return
		}
		done = true
		if out, err := r.node.EnterNet("nft", "delete", "table", "inet", table).CombinedOutput(); err != nil {
			t.Errorf("join %s again: %v: %s", r.name, err, out)
		}
	}
	t.Cleanup(uncut)
	return uncut
}
