package kube

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestGateways: a Gateway that asks for Ambit is told that nothing carries it out; another's is left alone.
func TestGateways(t *testing.T) {
	ns := namespace(t, true)
	class := "class-of-" + ns
	t.Cleanup(func() {
		if _, err := c.Kubectl(context.Background(), "delete", "--ignore-not-found", "gatewayclass", class); err != nil {
			t.Error(err)
		}
	})
	const gateway = "---\n{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: %s, namespace: %s}, spec: {gatewayClassName: %s, listeners: [{name: mesh, port: 15008, protocol: HTTP}]}}\n"
	applyYAML(t, fmt.Sprintf("{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: %s}, spec: {controllerName: ambit.dev/gateway-controller}}\n", class)+
		fmt.Sprintf(gateway, "waypoint", ns, "ambit-waypoint")+fmt.Sprintf(gateway, "edge", ns, class)+fmt.Sprintf(gateway, "others", ns, "others"))
	says := func(object, kind, want string) {
		t.Helper()
		awaitThat(t, 40*time.Second, "condition of "+object, func() error {
			got, err := c.Kubectl(t.Context(), "-n", ns, "get", object, "-o", fmt.Sprintf(`jsonpath={.status.conditions[?(@.type==%q)].status} {.status.conditions[?(@.type==%[1]q)].reason}`, kind))
			if err == nil && got != want {
				err = fmt.Errorf("%s is %q, not %q", kind, got, want)
			}
			return err
		})
	}
	says("gatewayclass/"+class, "Accepted", "False Unsupported")
	for _, name := range []string{"waypoint", "edge"} {
		says("gateway/"+name, "Accepted", "False NotSupported")
		says("gateway/"+name, "Programmed", "False NotSupported")
	}
	says("gateway/others", "Accepted", "Unknown Pending")
}
