package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const gatewayController = "ambit.dev/gateway-controller"

// routesYAML has a route of each kind: of the Gateway edge, which asks for Ambit, and of the mesh; and what
// belongs to edge besides.
const routesYAML = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: NS}
spec: {gatewayClassName: ambit, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: others, namespace: NS}
spec: {gatewayClassName: others, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: NS}
spec: {parentRef: {name: edge}, listeners: [{name: http, port: 81, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: server, namespace: NS}
spec:
  targetRefs: [{group: "", kind: Service, name: server}]
  validation: {hostname: server.test, wellKnownCACertificates: System}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: NS}
spec:
  parentRefs: [{name: others}, {name: edge}, {group: "", kind: Service, name: server, port: 80}]
  rules: [{backendRefs: [{name: server, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: away, namespace: NS}
spec:
  parentRefs: [{group: "", kind: Service, name: server}]
  rules: [{backendRefs: [{name: nowhere, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: others, namespace: NS}
spec: {parentRefs: [{name: others}], rules: [{backendRefs: [{name: server, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: rpc, namespace: NS}
spec: {parentRefs: [{name: more, kind: ListenerSet}], rules: [{backendRefs: [{name: server, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: tls, namespace: NS}
spec: {parentRefs: [{name: edge}], hostnames: [server.test], rules: [{backendRefs: [{name: server, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: tcp, namespace: NS}
spec: {parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: world}], rules: [{backendRefs: [{name: server, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: udp, namespace: NS}
spec: {parentRefs: [{group: "", kind: Service, name: server}], rules: [{backendRefs: [{name: server, port: 80}]}]}
`

// TestRoutes: each parent of a route that is a Gateway of ours or the mesh is told what happens to its
// traffic, and just that happens. Others' gateways and entries are left alone.
func TestRoutes(t *testing.T) {
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "client", node: nodeA}, pod{namespace: ns, name: "server", node: nodeB})
	service(t, ns, "server")
	enrolled(t, ns, "client", "server")
	applyYAML(t, strings.ReplaceAll(routesYAML, "NS", ns))
	kubectl(t, "-n", ns, "patch", "httproute", "web", "--subresource=status", "--type=merge", "-p",
		`{"status": {"parents": [{"parentRef": {"name": "others"}, "controllerName": "other.test/controller", "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}]}}`)
	const no = " False NotSupported"
	for _, x := range []struct {
		object string
		want   []string
		word   string
	}{
		{"httproute/web", []string{"edge" + no, "server" + no}, "has no gateways"},
		{"httproute/away", []string{"server" + no}, "layer 4"},
		{"httproute/others", nil, ""},
		{"grpcroute/rpc", []string{"more" + no}, "nothing listens"},
		{"tlsroute/tls", []string{"edge" + no}, "as if it were not there"},
		{"tcproute/tcp", []string{"world" + no}, "has no waypoints"},
		{"udproute/udp", []string{"server" + no}, "does not carry UDP"},
		{"backendtlspolicy/server", []string{"edge" + no}, "has no gateways"},
	} {
		awaitThat(t, 40*time.Second, "status of "+x.object, func() error { return told(t, ns, x.object, x.word, x.want...) })
	}
	for kind, reason := range map[string]string{"Accepted": "ParentNotAccepted", "Programmed": "ParentNotProgrammed"} {
		if got := kubectl(t, "-n", ns, "get", "listenerset", "more", "-o", fmt.Sprintf(`jsonpath={.status.conditions[?(@.type==%q)].status} {.status.conditions[?(@.type==%[1]q)].reason}`, kind)); got != "False "+reason {
			t.Errorf("ListenerSet: %s is %s", kind, got)
		}
	}
	answers(t, ns, "client", "http://server/") // though a route leads elsewhere

	kubectl(t, "-n", ns, "patch", "httproute", "web", "--type=merge", "-p", `{"spec": {"parentRefs": [{"name": "others"}]}}`)
	awaitThat(t, 40*time.Second, "end of the entries", func() error { return told(t, ns, "httproute/web", "") })
	if got := kubectl(t, "-n", ns, "get", "httproute", "web", "-o", "jsonpath={.status.parents[*].controllerName}"); got != "other.test/controller" {
		t.Errorf("controllers of the entries that are left: %q", got)
	}
}

// told compares our entries in an object's status, which must be about the object as it is now.
func told(t *testing.T, ns, object, word string, want ...string) error {
	t.Helper()
	type entry struct {
		ControllerName         string
		ParentRef, AncestorRef struct{ Name string }
		Conditions             []struct {
			Type, Status, Reason, Message string
			ObservedGeneration            int64
		}
	}
	raw := kubectl(t, "-n", ns, "get", object, "-o", "json")
	var o struct {
		Metadata struct{ Generation int64 }
		Status   struct{ Parents, Ancestors []entry }
	}
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		return err
	}
	var got []string
	for _, e := range slices.Concat(o.Status.Parents, o.Status.Ancestors) {
		if e.ControllerName != gatewayController {
			continue
		}
		if len(e.Conditions) != 1 || e.Conditions[0].Type != "Accepted" || e.Conditions[0].ObservedGeneration != o.Metadata.Generation {
			return fmt.Errorf("generation %d: %+v", o.Metadata.Generation, e)
		}
		got = append(got, e.ParentRef.Name+e.AncestorRef.Name+" "+e.Conditions[0].Status+" "+e.Conditions[0].Reason)
	}
	if !slices.Equal(got, want) || !strings.Contains(raw, word) {
		return fmt.Errorf("%q, not %q with %q: %s", got, want, word, raw)
	}
	return nil
}
