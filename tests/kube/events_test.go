package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestEventsOfPodsThatCannotBeEnrolled: who looks at a pod that could not be enrolled is told why, and once
// the reason is gone the pod is.
func TestEventsOfPodsThatCannotBeEnrolled(t *testing.T) {
	ns := namespace(t, false)
	start(t, pod{namespace: ns, name: "lame", node: nodeA}, pod{namespace: ns, name: "lost", node: nodeA})
	// One has no lo by that name, where the route to the proxy begins; the other has lost its address.
	heal := breakLoopback(t, ns, "lame")
	dev, prefix := addressIn(t, ns, "lost")
	inNetns(t.Context(), t, ns, "lost", "ip", "addr", "del", prefix, "dev", dev)
	kubectl(t, "label", "namespace", ns, "istio.io/dataplane-mode=ambient")

	ip, _, _ := strings.Cut(prefix, "/")
	hasEvent(t, ns, "lame", "AmbitEnrolmentFailed", "cannot be enrolled", "find lo")
	hasEvent(t, ns, "lost", "AmbitEnrolmentWaiting", "not enrolled in the mesh yet", "address "+ip)
	for _, p := range []string{"lame", "lost"} {
		if err := marked(t, ns, p, ""); err != nil {
			t.Error(err)
		}
	}

	heal(t.Context())
	inNetns(t.Context(), t, ns, "lost", "ip", "addr", "add", prefix, "dev", dev)
	enrolled(t, ns, "lame", "lost")
}

// TestEventOfWhatIsNotHonoured: a pod that asks for what its namespace does not allow is enrolled all the
// same, and told so.
func TestEventOfWhatIsNotHonoured(t *testing.T) {
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "server", node: nodeB, annotations: `ambit.dev/exclude-inbound-ports: "8080"`})
	hasEvent(t, ns, "server", "AmbitNotHonoured", "ambit.dev/exclude-inbound-ports", "the namespace does not allow it")
	enrolled(t, ns, "server")
}

// hasEvent waits for a warning of the agent on a pod, with these words.
func hasEvent(t *testing.T, ns, pod, reason string, words ...string) {
	t.Helper()
	where := strings.Fields(kubectl(t, "-n", ns, "get", "pod", pod, "-o", "jsonpath={.metadata.uid} {.spec.nodeName}"))
	awaitThat(t, 60*time.Second, "event "+reason+" of "+pod, func() error {
		raw := kubectl(t, "-n", ns, "get", "events", "--field-selector", "reason="+reason+",involvedObject.kind=Pod,involvedObject.name="+pod, "-o", "json")
		var list struct {
			Items []struct {
				Type, Message  string
				InvolvedObject struct{ UID string }
				Source         struct{ Component, Host string }
			}
		}
		if err := json.Unmarshal([]byte(raw), &list); err != nil {
			return err
		}
	next:
		for _, e := range list.Items {
			for _, w := range words {
				if !strings.Contains(e.Message, w) {
					continue next
				}
			}
			if e.Type == "Warning" && e.InvolvedObject.UID == where[0] && e.Source.Component == "ambit-agent" && e.Source.Host == where[1] {
				return nil
			}
		}
		return fmt.Errorf("pod %v: none of %d events says %q: %+v", where, len(list.Items), words, list.Items)
	})
}

// breakLoopback renames lo of a pod, until heal or the end of the test.
func breakLoopback(t *testing.T, ns, pod string) (heal func(context.Context)) {
	t.Helper()
	inNetns(t.Context(), t, ns, pod, "ip", "link", "set", "lo", "down")
	inNetns(t.Context(), t, ns, pod, "ip", "link", "set", "lo", "name", "away")
	broken := true
	heal = func(ctx context.Context) {
		if !broken {
			return
		}
		broken = false
		inNetns(ctx, t, ns, pod, "ip", "link", "set", "away", "name", "lo")
		inNetns(ctx, t, ns, pod, "ip", "link", "set", "lo", "up")
	}
	t.Cleanup(func() { heal(context.Background()) })
	return heal
}

// addressIn is a pod's IPv4 address with its length, and the device that has it.
func addressIn(t *testing.T, ns, pod string) (dev, prefix string) {
	t.Helper()
	out := inNetns(t.Context(), t, ns, pod, "ip", "-o", "-4", "addr", "show", "scope", "global")
	f := strings.Fields(out)
	if len(f) < 4 || strings.Count(strings.TrimSpace(out), "\n") != 0 {
		t.Fatalf("want one address: %q", out)
	}
	return f[1], f[3]
}

// inNetns runs a command of the node in a pod's network namespace.
func inNetns(ctx context.Context, t *testing.T, ns, pod string, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(ctx, "-n", ns, "get", "pod", pod, "-o", "jsonpath={.spec.nodeName} {.status.containerStatuses[0].containerID}")
	if err != nil {
		t.Fatal(err)
	}
	node, id, _ := strings.Cut(out, " containerd://")
	const enter = `ctr=$1 id=$2; shift 2; exec nsenter -t "$("$ctr" -n k8s.io task ls | awk -v id="$id" '$1 == id {print $2}')" -n "$@"`
	out, err = c.Node(node).Run(ctx, append([]string{"sh", "-c", enter, "sh", c.Cache.Bin() + "/ctr", id}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
