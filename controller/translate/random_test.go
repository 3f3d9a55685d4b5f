package translate

import (
	"fmt"
)

// random returns the YAML of some object out of a small world, so that changes meet.
func (w *world) random() string {
	namespace, label := w.pick("a", "b", "ambit-system"), "{app: "+w.pick("k", "l", "m")+"}"
	if w.rand.IntN(3) == 0 {
		label = "{app: " + w.pick("k", "l") + ", v: " + w.pick("\"1\"", "\"2\"") + "}"
	}
	created := w.pick("", `, creationTimestamp: "2024-01-01T00:00:00Z"`, `, creationTimestamp: "2023-01-01T00:00:00Z"`)
	meta := func(names ...string) string {
		return fmt.Sprintf("metadata: {name: %s, namespace: %s%s", w.pick(names...), namespace, created)
	}
	switch w.rand.IntN(10) {
	case 0, 1, 2:
		return w.pod(meta("p1", "p2", "p3"), label)
	case 3:
		return "apiVersion: v1\nkind: Service\n" + meta("s1", "s2") + "}\nspec: {" + w.pick("", "publishNotReadyAddresses: true, ", "type: ExternalName, externalName: x, ") +
			w.pick("selector: "+label+", ", "") + "clusterIP: 10.96.0.1, ports: [{name: http, port: 80, targetPort: " + w.pick("8080", "web") + "}]}"
	case 4:
		return w.slice(meta("s1-a", "s1-b", "s2-a"))
	case 5:
		return "apiVersion: v1\nkind: Node\nmetadata: {name: " + w.pick("n1", "n2") + ", labels: {topology.kubernetes.io/zone: " + w.pick("z1", "z2") + "}}"
	case 6:
		return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n" + meta("ap1", "ap2", "ap3") + w.pick("", `, annotations: {istio.io/dry-run: "true"}`) + "}\nspec: {" +
			w.pick("", "selector: {matchLabels: "+label+"}, ") + w.pick("", "action: DENY, ", "action: AUDIT, ", "action: CUSTOM, ") + "rules: [" + w.rule() + "]" + w.pick("", "", ", targetRefs: [{kind: Service, name: x}]") + "}"
	case 7:
		return "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n" + meta("pa1", "pa2", "pa3") + "}\nspec: {" + w.pick("", "selector: {matchLabels: "+label+"}, ") +
			"mtls: {mode: " + w.pick("STRICT", "PERMISSIVE", "DISABLE", "UNSET", "BAD") + "}" + w.pick("", "", ", portLevelMtls: {80: {mode: PERMISSIVE}, 81: {mode: STRICT}}") + "}"
	default:
		return "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n" + meta("d1", "d2") + "}\nspec: {host: " +
			w.pick("s1", "s1", "s1.a.svc.cluster.local", "s2.a.svc.cluster.local", "\"*.b.svc.cluster.local\"", "\"*\"", "nowhere") + ", trafficPolicy: {outlierDetection: {" +
			w.pick("", "consecutive5xxErrors: 3", "interval: 0s") + "}}" + w.pick("", "", ", workloadSelector: {matchLabels: {a: b}}") + "}"
	}
}

func (w *world) pod(meta, labels string) string {
	return "apiVersion: v1\nkind: Pod\n" + meta + ", labels: " + labels + "}\nspec: {nodeName: " + w.pick("n1", "n2", `""`) +
		", serviceAccountName: " + w.pick("sa1", "sa2", `""`) + ", hostNetwork: " + w.pick("false", "false", "true") +
		", containers: [{name: c, image: x, ports: [{name: " + w.pick("web", "other") + ", containerPort: 8080}]}]}\nstatus: {phase: " +
		w.pick("Running", "Running", "Running", "Succeeded", "Pending") + ", podIPs: [" + w.pick("{ip: 10.0.0.1}", "{ip: 10.0.0.2}", "{ip: 10.0.0.3}, {ip: \"fd00::3\"}", "") +
		"], conditions: [{type: Ready, status: \"" + w.pick("True", "False") + "\"}]}"
}

func (w *world) slice(meta string) string {
	endpoint := func() string {
		return "{addresses: [" + w.pick("10.0.0.1", "10.0.0.2", "10.0.0.3") + "], conditions: {ready: " + w.pick("true", "false") + "}" +
			w.pick("", ", targetRef: {kind: Pod, name: "+w.pick("p1", "p2", "p3")+"}", ", targetRef: {kind: Node, name: n1}") + "}"
	}
	return "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n" + meta + ", labels: {kubernetes.io/service-name: " + w.pick("s1", "s2") +
		"}}\naddressType: IPv4\nports: [{name: http, port: " + w.pick("8080", "8081") + "}]\nendpoints: [" + endpoint() + ", " + endpoint() + "]"
}

func (w *world) rule() string {
	return w.pick("", "{}", "{from: [{source: {namespaces: [a]}}]}", "{to: [{operation: {methods: [GET]}}]}",
		"{from: [{source: {ipBlocks: [x]}}]}", "{when: [{key: source.ip, values: [10.0.0.0/8]}]}, {to: [{operation: {ports: [\"80\"]}}]}")
}
