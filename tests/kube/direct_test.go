package kube

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// direct switches direct connections on, as the pages say, until the test ends.
func direct(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.Background()
		if err := ours.apply(ctx); err != nil {
			t.Error(err)
		}
		if err := ready(ctx); err != nil {
			t.Error(err)
		}
	})
	kubectl(t, "apply", "--server-side", "-k", "../../manifests/overlays/same-node-direct")
	if err := ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// couple is a client and a server on one node, in the mesh, STRICT; the server has every kind of probe.
func couple(t *testing.T) string {
	t.Helper()
	ns := namespace(t, true)
	strict(t, ns)
	probes := `readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}, livenessProbe: {tcpSocket: {port: 9090}, periodSeconds: 1, failureThreshold: 2}, startupProbe: {grpc: {port: 9091}, periodSeconds: 1}`
	start(t, pod{namespace: ns, name: "client", node: nodeA}, pod{namespace: ns, name: "server", node: nodeA, more: probes})
	service(t, ns, "server")
	enrolled(t, ns, "client", "server")
	return ns
}

// TestDirect goes through what pods of one node do, with direct connections.
func TestDirect(t *testing.T) {
	direct(t)
	ns, outside := couple(t), namespace(t, false)
	start(t, pod{namespace: outside, name: "stranger", node: nodeA}, pod{namespace: ns, name: "far", node: nodeB})
	for _, s := range []struct {
		name string
		test func(*testing.T, string, string)
	}{
		{"past the proxy", directTold},
		{"service", directService},
		{"policy ends what runs", directPolicy},
		{"probes and strangers", directStrict},
		{"not through a node's port", directNodePort},
		{"endpoints elsewhere", directElsewhere},
		{"translated addresses", directTranslated},
	} {
		t.Run(s.name, func(t *testing.T) { s.test(t, ns, outside) })
	}
}

// flows is how many connections of a node went direct so far, as its agent counts.
func flows(t *testing.T, node string) int {
	t.Helper()
	raw := kubectl(t, "get", "--raw", "/api/v1/namespaces/ambit-system/pods/"+part(t, "ambit-agent", node)+":15020/proxy/metrics")
	for line := range strings.Lines(raw) {
		if v, ok := strings.CutPrefix(line, `ambit_redirect_events_total{event="direct_flows"} `); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				t.Fatalf("metrics: %q: %v", line, err)
			}
			return int(n)
		}
	}
	return 0
}

// goesDirect waits until what do opens goes past the proxy of a node.
func goesDirect(t *testing.T, node string, do func() error) {
	t.Helper()
	awaitThat(t, 60*time.Second, "a connection past the proxy", func() error {
		before := flows(t, node)
		if err := do(); err != nil {
			return err
		}
		if flows(t, node) == before {
			return fmt.Errorf("went through the proxy")
		}
		return nil
	})
}

// isDirect waits until the client's calls to an address go past the proxy.
func isDirect(t *testing.T, ns, address string) {
	t.Helper()
	goesDirect(t, nodeA, func() error {
		_, err := work(t, ns, "client", "load", address, "1ms")
		return err
	})
}

// heldDirect is a connection of the client's that goes past the proxy. Any change in the mesh makes the proxy judge
// anew, and one that is opened at that moment goes through it.
func heldDirect(t *testing.T, ns, address string) *running {
	t.Helper()
	for range 10 {
		isDirect(t, ns, address)
		before := flows(t, nodeA)
		r := begin(t, ns, "client", "hold", address, long)
		time.Sleep(2 * time.Second)
		if flows(t, nodeA) > before {
			return r
		}
		r.stop(t)
	}
	t.Fatal("no connection to hold goes past the proxy")
	return nil
}

// ends waits for the end of a connection that policy does not let go on.
func (r *running) ends(t *testing.T) {
	t.Helper()
	select {
	case err := <-r.ended:
		if err == nil || !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "EOF") {
			t.Errorf("%s ended by %v", r.what, err)
		}
	case <-time.After(40 * time.Second):
		t.Errorf("%s goes on", r.what)
		r.stop(t)
	}
}

// deny keeps the client from the server until lift.
func deny(t *testing.T, ns string) (lift func()) {
	t.Helper()
	applyYAML(t, fmt.Sprintf(`{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: not-the-client, namespace: %[1]s}, spec: {selector: {matchLabels: {app: server}}, action: DENY, rules: [{from: [{source: {principals: ["cluster.local/ns/%[1]s/sa/client"]}}]}]}}`, ns))
	return func() { kubectl(t, "-n", ns, "delete", "authorizationpolicy", "not-the-client") }
}

// directTold: metrics, the list of connections and the access log tell of direct connections what they tell
// of others.
func directTold(t *testing.T, ns, _ string) {
	to := address(t, ns, "server") + ":9090"
	isDirect(t, ns, to)
	before, count := settled(t, ns), flows(t, nodeA)
	out, err := work(t, ns, "client", "load", to, "1s")
	n, err2 := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(out, "connections=")))
	if direct := flows(t, nodeA) - count; err != nil || err2 != nil || direct < n/2 {
		t.Errorf("%d connections, %d of them past the proxy: %v", n, direct, err)
	}
	awaitThat(t, 30*time.Second, "as many in the metrics as there were", func() error {
		now := waysOf(t, ns)
		if got := (ways{now.mesh - before.mesh, now.plain - before.plain}); got != (ways{mesh: n}) {
			return fmt.Errorf("%+v, there were %d", got, n)
		}
		return nil
	})
	held := heldDirect(t, ns, to)
	awaitThat(t, 20*time.Second, "the connection in the list", func() error {
		told, err := ambit(t, "connections", "--kube", "--pod", ns+"/client")
		if err == nil && lineWith(told, "same_node", ns+"/server:9090") == "" {
			err = fmt.Errorf("no line with same_node and the server in\n%s", told)
		}
		return err
	})
	held.stop(t)
	awaitThat(t, 20*time.Second, "line in the access log", func() error {
		log := kubectl(t, "-n", "ambit-system", "logs", proxy(t, nodeA))
		if lineWith(log, ns, "past the proxy", `"same_node"`) == "" {
			return fmt.Errorf("none: %s", tail(log, 1000))
		}
		return nil
	})
}

// settled are the proxies' numbers once they have read all that the kernel has carried.
func settled(t *testing.T, ns string) (now ways) {
	t.Helper()
	last := ways{-1, -1}
	awaitThat(t, time.Minute, "rest", func() error {
		now = waysOf(t, ns)
		if now != last {
			last = now
			time.Sleep(7 * time.Second) // they are read every five
			return fmt.Errorf("still %+v", now)
		}
		return nil
	})
	return now
}

// directService: who calls a service direct is told that it talks to the service.
func directService(t *testing.T, ns, _ string) {
	vip := kubectl(t, "-n", ns, "get", "service", "server", "-o", "jsonpath={.spec.clusterIP}") + ":9090"
	goesDirect(t, nodeA, func() error {
		out, err := work(t, ns, "client", "peer", "server:9090")
		if err == nil && strings.TrimSpace(out) != vip {
			t.Errorf("getpeername says %s, the service is %s", out, vip)
		}
		return err
	})
}

func directPolicy(t *testing.T, ns, _ string) {
	held := heldDirect(t, ns, "server:9090")
	lift := deny(t, ns)
	held.ends(t)
	refused(t, ns, "client", "http://server/")
	lift()
	answers(t, ns, "client", "http://server/")
	isDirect(t, ns, "server:9090")
}

func directStrict(t *testing.T, ns, outside string) {
	isDirect(t, ns, "server:9090")
	refused(t, outside, "stranger", "http://server."+ns+"/")
	refused(t, outside, "stranger", "http://"+address(t, ns, "server")+":8080/")
	staysReady(t, ns, "server", 5*time.Second)
}

// directNodePort: what kube-proxy leads to the server has no identity, on one node as between two.
func directNodePort(t *testing.T, ns, outside string) {
	expose(t, ns, "node-port", "type: NodePort, selector: {app: server}, ports: [{name: http, port: 80, targetPort: 8080}]")
	port := kubectl(t, "-n", ns, "get", "service", "node-port", "-o", "jsonpath={.spec.ports[0].nodePort}")
	byNode := "http://" + c.Node(nodeA).Address + ":" + port + "/"
	refused(t, ns, "client", byNode)
	kubectl(t, "-n", ns, "delete", "peerauthentication", "default")
	defer strict(t, ns)
	takes(t, ns, asItWas, func() { reaches(t, ns, "client", byNode, "server") })
	answers(t, outside, "stranger", "http://node-port."+ns+"/") // kube-proxy's way to a cluster IP
	goesDirect(t, nodeA, func() error {
		_, err := work(t, ns, "client", "get", "http://node-port/")
		return err
	})
}

// directElsewhere: a service with an endpoint on another node is the proxy's to balance, until that one goes.
func directElsewhere(t *testing.T, ns, _ string) {
	expose(t, ns, "both", web)
	kubectl(t, "-n", ns, "label", "pod", "server", "far", "tier=web")
	reaches(t, ns, "client", "http://both/", "far", "server")
	before := flows(t, nodeA)
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://both/", "far", "server") })
	if n := flows(t, nodeA) - before; n > 0 {
		t.Errorf("%d connections went past the proxy", n)
	}
	kubectl(t, "-n", ns, "label", "pod", "far", "tier-")
	reaches(t, ns, "client", "http://both/", "server")
	goesDirect(t, nodeA, func() error {
		_, err := work(t, ns, "client", "get", "http://both/")
		return err
	})
}

// directTranslated: where the network translates addresses between two pods of a node, what goes direct arrives as
// a stranger's: STRICT refuses it, and the log says why.
func directTranslated(t *testing.T, ns, _ string) {
	isDirect(t, ns, "server:9090")
	node := c.Node(nodeA)
	const table = "ambit_test_nat"
	rules := fmt.Sprintf("table ip %[1]s { chain p { type nat hook postrouting priority 100; ip saddr %[2]s ip daddr %[2]s masquerade; }; }", table, node.CIDR)
	cmd := node.EnterNet("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("translate addresses: %v: %s", err, out)
	}
	gone := false
	end := func() {
		if out, err := node.EnterNet("nft", "delete", "table", "ip", table).CombinedOutput(); err != nil && !gone {
			t.Errorf("end of the translation: %v: %s", err, out)
		}
		gone = true
	}
	defer end()
	refused(t, ns, "client", "http://server/")
	awaitThat(t, 20*time.Second, "reason in the log", func() error {
		log := kubectl(t, "-n", "ambit-system", "logs", proxy(t, nodeA))
		if lineWith(log, "mtls_required", ns) == "" {
			return fmt.Errorf("no refusal: %s", tail(log, 1000))
		}
		return nil
	})
	end()
	answers(t, ns, "client", "http://server/")
	isDirect(t, ns, "server:9090")
}
