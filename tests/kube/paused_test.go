package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestPausedReplica cuts one replica from the API server, so that it knows nothing new, and makes the
// server's proxy move to it: a policy that the proxy has stands. The replica has asked who the proxy is just
// before, so that it lets it in.
func TestPausedReplica(t *testing.T) {
	ns := pair(t)
	start(t, pod{namespace: ns, name: "other", node: nodeB}) // the policy does not mean it
	service(t, ns, "other")
	enrolled(t, ns, "other")
	answers(t, ns, "client", "http://other/")
	fresh, paused := served(t, nodeB)
	from, held := address(t, "ambit-system", proxy(t, nodeB)), counted(t, paused.name, "ambit_xds_stale_holds_total")
	uncordon := cordon(t) // nobody takes the place of the one that goes

	lets(t, paused, nodeB, "spiffe://cluster.local/ns/"+ns+"/sa/server")
	uncut := cut(t, paused)
	applyYAML(t, fmt.Sprintf(`{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: nobody, namespace: %s}, spec: {selector: {matchLabels: {app: server}}}}`, ns))
	refused(t, ns, "client", "http://server/")
	kubectl(t, "-n", "ambit-system", "delete", "pod", fresh.name, "--grace-period=1")
	awaitThat(t, 30*time.Second, "the proxy has moved to the replica, which sees that it is behind", func() error {
		there, err := connected(t, paused, from)
		if n := counted(t, paused.name, "ambit_xds_stale_holds_total"); err == nil && (!there || n <= held) {
			err = fmt.Errorf("connected: %v, answers held: %v, before %v", there, n, held)
		}
		return errors.Join(err, stands(t, ns))
	})
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if err := stands(t, ns); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := connected(t, paused, from); err != nil || !there {
		t.Errorf("the proxy has left the replica: %v", err)
	}
	uncordon()
	uncut()
	if err := ready(t.Context()); err != nil {
		t.Error(err)
	}
	kubectl(t, "-n", ns, "delete", "authorizationpolicy", "nobody")
	answers(t, ns, "client", "http://server/")
}

// stands: the policy refuses what it means and nothing else.
func stands(t *testing.T, ns string) error {
	t.Helper()
	if body, err := work(t, ns, "client", "get", "http://server/", "2s"); err == nil {
		t.Fatalf("the policy is forgotten: %s", body)
	}
	_, err := work(t, ns, "client", "get", "http://other/", "5s")
	return err
}

// lets has a replica ask who a node's proxy is, by the proxy's very token. It keeps the answer for 30 s.
func lets(t *testing.T, r replica, node, identity string) {
	t.Helper()
	of := containerOf(t, "ambit-system", proxy(t, node))
	token, err := c.Node(node).Run(t.Context(), "sh", "-c", "cat /proc/$("+pidOf(of)+")/root/var/run/secrets/tokens/istio-token")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := signBy(t, r.address, strings.TrimSpace(token), identity); err != nil || strings.TrimSpace(got) != identity {
		t.Fatalf("%s does not know the proxy of %s: %q, %v", r.name, node, got, err)
	}
}

// pidOf is a shell command that tells a container's process.
func pidOf(container string) string {
	return c.Cache.Bin() + "/ctr -n k8s.io task ls | awk '$1==\"" + container + "\" {print $2}'"
}

// cordon keeps new pods from both nodes.
func cordon(t *testing.T) (uncordon func()) {
	t.Helper()
	kubectl(t, "cordon", nodeA, nodeB)
	uncordon = func() {
		if _, err := c.Kubectl(context.Background(), "uncordon", nodeA, nodeB); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(uncordon)
	return uncordon
}
