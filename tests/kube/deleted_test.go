package kube

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestDeletedWhileTalking deletes servers one after another while a client connects to them all the time: no
// connect fails, and what is open ends as the server ends it. The next server, of another identity, has the
// address at once; the last is not in the mesh.
func TestDeletedWhileTalking(t *testing.T) {
	ns, outside := namespace(t, true), namespace(t, false)
	strict(t, ns)
	start(t, pod{namespace: ns, name: "client", node: nodeA}, lingering(ns, "stays"), lingering(ns, "server-0"))
	applyYAML(t, fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: servers, namespace: %s}, spec: {selector: {part: servers}, ports: [{port: 9090}]}}`, ns))
	enrolled(t, ns, "client", "stays", "server-0")
	kubectl(t, "-n", ns, "label", "pod", "stays", "server-0", "part=servers")
	awaitThat(t, 30*time.Second, "servers answer", func() error {
		_, err := work(t, ns, "client", "peer", "servers:9090")
		return err
	})
	load := begin(t, ns, "client", "load", "servers:9090", long)
	for i := range 3 {
		next := lingering(ns, fmt.Sprintf("server-%d", i+1))
		replace(t, ns, fmt.Sprintf("server-%d", i), next)
		enrolled(t, ns, next.name)
		kubectl(t, "-n", ns, "label", "pod", next.name, "part=servers")
	}
	replace(t, ns, "server-3", lingering(outside, "stranger"))
	load.stop(t)
}

// lingering is a server that answers until all know that it is going.
func lingering(ns, name string) pod {
	return pod{namespace: ns, name: name, node: nodeB, args: []string{"serve", "2s"}}
}

// replace deletes a server that a client talks to and gives its address to the next.
func replace(t *testing.T, ns, name string, next pod) {
	t.Helper()
	at := address(t, ns, name)
	hold := begin(t, ns, "client", "hold", at+":9090", long)
	time.Sleep(time.Second)
	kubectl(t, "-n", ns, "delete", "pod", name)
	endsInOrder(t, hold)
	reserve(t, at)
	start(t, next)
	if got := address(t, next.namespace, next.name); got != at {
		t.Fatalf("%s has the address %s, not %s of %s", next.name, got, at, name)
	}
	url := "http://" + at + ":8080/"
	if body := answers(t, ns, "client", url); podIn(body) != next.name {
		t.Errorf("%s is %s's, but answered: %s", at, next.name, body)
	}
	if out, err := work(t, ns, "client", "load", at+":9090", "1s"); err != nil {
		t.Errorf("%s at the address of %s: %v %s", next.name, name, err, out)
	}
}

// endsInOrder: the client reads the end of what the server sent, not an error.
func endsInOrder(t *testing.T, hold *running) {
	t.Helper()
	select {
	case err := <-hold.ended:
		if err == nil || !strings.HasSuffix(strings.TrimSpace(err.Error()), ": EOF") {
			t.Errorf("the connection to a deleted pod ended by %v", err)
		}
	case <-time.After(40 * time.Second):
		t.Error("the connection to a deleted pod hangs")
	}
}

// reserve lets the next pod of the servers' node have an address: the allocator goes on after the last.
func reserve(t *testing.T, at string) {
	t.Helper()
	last := netip.MustParseAddr(at).Prev().String()
	if _, err := c.Node(nodeB).Run(t.Context(), "sh", "-c", `printf %s "$1" > /run/cni-ipam/test/last_reserved_ip.0`, "sh", last); err != nil {
		t.Fatal(err)
	}
}
