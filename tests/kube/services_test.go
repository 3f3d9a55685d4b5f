package kube

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ambitmesh/ambit/tests/kube/cluster/build"
)

// TestServices goes through the kinds of Services. The client and "one" are on a node and in its zone,
// "two" is on the other.
func TestServices(t *testing.T) {
	ns := namespace(t, true)
	env := "env: [{name: SSL_CERT_FILE, value: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}]"
	ports := "ports: [{name: web, containerPort: 8080}, {name: line, containerPort: 9090}]"
	start(t, pod{namespace: ns, name: "client", node: nodeA, more: env},
		pod{namespace: ns, name: "one", node: nodeA, more: ports}, pod{namespace: ns, name: "two", node: nodeB, more: ports})
	kubectl(t, "-n", ns, "label", "pod", "one", "two", "tier=web")
	enrolled(t, ns, "client", "one", "two")
	for _, s := range []struct {
		name string
		test func(*testing.T, string)
	}{
		{"ClusterIP", clusterIP},
		{"headless", headless},
		{"StatefulSet", statefulSet},
		{"target ports", targetPorts},
		{"internalTrafficPolicy", onlyLocal},
		{"trafficDistribution", preferNear},
		{"own slices", ownSlices},
		{"kubernetes.default", apiServer},
		{"ExternalName", externalName},
		{"NodePort", nodePort},
		{"LoadBalancer", loadBalancer},
		{"itself", itself},
	} {
		t.Run(s.name, func(t *testing.T) { s.test(t, ns) })
	}
}

// expose makes a service; spec is the rest of its spec in YAML's flow style.
func expose(t *testing.T, ns, name, spec string) {
	t.Helper()
	applyYAML(t, fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: %s}, spec: {%s}}", name, ns, spec))
}

const web = "selector: {tier: web}, ports: [{name: http, port: 80, targetPort: 8080}]"

func clusterIP(t *testing.T, ns string) {
	expose(t, ns, "cluster-ip", web)
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://cluster-ip/", "one", "two") })
}

// headless: the name leads to the pods themselves. Which of them is called is the client's choice.
func headless(t *testing.T, ns string) {
	expose(t, ns, "headless", "clusterIP: None, "+web)
	takes(t, ns, byMesh, func() { answers(t, ns, "client", "http://headless:8080/") })
	out, err := work(t, ns, "client", "lookup", "headless")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		ip := address(t, ns, name)
		if !strings.Contains(out, ip) {
			t.Errorf("the name leads to %s, not to %s", out, ip)
		}
		takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://"+ip+":8080/", name) })
	}
}

func statefulSet(t *testing.T, ns string) {
	applyYAML(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: set, namespace: %[1]s}
spec: {clusterIP: None, selector: {app: set}, ports: [{name: http, port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: set, namespace: %[1]s}
spec:
  serviceName: set
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    spec:
      terminationGracePeriodSeconds: 3
      containers: [{name: work, image: "%[2]s", imagePullPolicy: Never, args: [serve]}]
`, ns, build.WorkImage))
	kubectl(t, "-n", ns, "rollout", "status", "statefulset/set", "--timeout=60s")
	enrolled(t, ns, "set-0", "set-1")
	for _, name := range []string{"set-0", "set-1"} {
		takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://"+name+".set:8080/", name) })
	}
}

// targetPorts: a named port is each pod's own; a port that is given another number leads there at once.
func targetPorts(t *testing.T, ns string) {
	expose(t, ns, "named", "selector: {tier: web}, ports: [{name: http, port: 81, targetPort: web}]")
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://named:81/", "one", "two") })
	expose(t, ns, "named", "selector: {tier: web}, ports: [{name: http, port: 81, targetPort: line}]")
	refused(t, ns, "client", "http://named:81/") // an echo is no HTTP
	if out, err := work(t, ns, "client", "load", "named:81", "1s"); err != nil {
		t.Errorf("the port that was renamed: %v %s", err, out)
	}
	expose(t, ns, "renumbered", "selector: {tier: web}, ports: [{name: http, port: 82, targetPort: 9090}]")
	refused(t, ns, "client", "http://renumbered:82/")
	expose(t, ns, "renumbered", web82)
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://renumbered:82/", "one", "two") })
}

const web82 = "selector: {tier: web}, ports: [{name: http, port: 82, targetPort: 8080}]"

func onlyLocal(t *testing.T, ns string) {
	expose(t, ns, "only-local", "internalTrafficPolicy: Local, "+web)
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://only-local/", "one") })
	takes(t, ns, byMesh, func() { reaches(t, ns, "two", "http://only-local/", "two") })
	expose(t, ns, "elsewhere", "internalTrafficPolicy: Local, selector: {app: two}, ports: [{port: 80, targetPort: 8080}]")
	reaches(t, ns, "two", "http://elsewhere/", "two")
	refused(t, ns, "client", "http://elsewhere/")
}

// preferNear: the same zone's pods while there are any, then those elsewhere.
func preferNear(t *testing.T, ns string) {
	for _, word := range []string{"PreferSameZone", "PreferSameNode"} {
		name := strings.ToLower(word)
		expose(t, ns, name, "trafficDistribution: "+word+", "+web)
		takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://"+name+"/", "one") })
		takes(t, ns, byMesh, func() { reaches(t, ns, "two", "http://"+name+"/", "two") })
	}
	kubectl(t, "-n", ns, "label", "pod", "one", "tier-")
	defer kubectl(t, "-n", ns, "label", "pod", "one", "tier=web")
	reaches(t, ns, "client", "http://prefersamezone/", "two")
	reaches(t, ns, "client", "http://prefersamenode/", "two")
}

// ownSlices: a service without a selector leads where its slices say: to a pod of the mesh by the mesh, to
// what is not in the mesh as it was.
func ownSlices(t *testing.T, ns string) {
	other := namespace(t, false)
	start(t, pod{namespace: other, name: "stranger", node: nodeB})
	const slice = `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: %[2]s, namespace: %[1]s, labels: {kubernetes.io/service-name: %[2]s}}, addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: [{addresses: [%[3]s]}]}`
	for name, ip := range map[string]string{"own-inside": address(t, ns, "two"), "own-outside": address(t, other, "stranger")} {
		expose(t, ns, name, "ports: [{name: http, port: 80, targetPort: 8080}]")
		applyYAML(t, fmt.Sprintf(slice, ns, name, ip))
	}
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://own-inside/", "two") })
	takes(t, ns, asItWas, func() { reaches(t, ns, "client", "http://own-outside/", "stranger") })
}

func apiServer(t *testing.T, ns string) {
	takes(t, ns, asItWas, func() {
		if body := answers(t, ns, "client", "https://kubernetes.default/version"); !strings.Contains(body, "gitVersion") {
			t.Errorf("the API server answers %s", body)
		}
	})
}

func externalName(t *testing.T, ns string) {
	expose(t, ns, "target", web)
	expose(t, ns, "alias", "type: ExternalName, externalName: target."+ns+".svc.cluster.local")
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://alias/", "one", "two") })
	other := namespace(t, false)
	start(t, pod{namespace: other, name: "stranger", node: nodeB})
	service(t, other, "stranger")
	expose(t, ns, "outside", "type: ExternalName, externalName: stranger."+other+".svc.cluster.local")
	takes(t, ns, asItWas, func() { reaches(t, ns, "client", "http://outside/", "stranger") })
}

// nodePort: what goes to a node's address is kube-proxy's, and comes to the pod without an identity.
func nodePort(t *testing.T, ns string) {
	expose(t, ns, "node-port", "type: NodePort, "+web)
	port := kubectl(t, "-n", ns, "get", "service", "node-port", "-o", "jsonpath={.spec.ports[0].nodePort}")
	for _, n := range c.Nodes {
		takes(t, ns, asItWas, func() { reaches(t, ns, "client", "http://"+n.Address+":"+port+"/", "one", "two") })
	}
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://node-port/", "one", "two") })
	strict(t, ns)
	defer kubectl(t, "-n", ns, "delete", "peerauthentication", "default")
	refused(t, ns, "client", "http://"+c.Nodes[0].Address+":"+port+"/")
	reaches(t, ns, "client", "http://node-port/", "one", "two")
}

func loadBalancer(t *testing.T, ns string) {
	expose(t, ns, "balanced", "type: LoadBalancer, "+web)
	kubectl(t, "-n", ns, "patch", "service", "balanced", "--subresource=status", "--type=merge", "-p",
		`{"status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.7","ipMode":"VIP"}]}}}`)
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://198.51.100.7/", "one", "two") })
}

// itself: a pod calls the service of which it is the only endpoint. The short name is the pod's own in its
// hosts file.
func itself(t *testing.T, ns string) {
	service(t, ns, "client")
	takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://client."+ns+"/", "client") })
}
