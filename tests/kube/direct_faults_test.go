package kube

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestDirectFaults: what happens to direct connections while the mesh's parts are away.
func TestDirectFaults(t *testing.T) {
	direct(t)
	t.Run("both rolled", directRolled)
	t.Run("agent killed", directAgentKilled)
	t.Run("agent away", directAgentAway)
	t.Run("node restarts", directNodeRestarts)
}

// directRolled: connections past the proxy do not feel that agents and proxies are replaced, and those that
// come after them can end these.
func directRolled(t *testing.T) {
	ns := couple(t)
	held := heldDirect(t, ns, "server:9090")
	load := begin(t, ns, "client", "load", "server:9090", long)
	kubectl(t, "-n", "ambit-system", "rollout", "restart", "daemonset/ambit-agent", "daemonset/ambit-ztunnel")
	if err := ready(t.Context()); err != nil {
		t.Error(err)
	}
	isDirect(t, ns, "server:9090")
	load.stop(t)
	deny(t, ns)
	held.ends(t)
	refused(t, ns, "client", "http://server/")
}

// directAgentKilled: nobody notices, and the new agent knows of what ran under the one before.
func directAgentKilled(t *testing.T) {
	ns := couple(t)
	held := heldDirect(t, ns, "server:9090")
	load := begin(t, ns, "client", "load", "server:9090", long)
	time.Sleep(time.Second)
	id := containerOf(t, "ambit-system", part(t, "ambit-agent", nodeA))
	if _, err := c.Node(nodeA).Run(t.Context(), c.Cache.Bin()+"/ctr", "-n", "k8s.io", "task", "kill", "-s", "SIGKILL", id); err != nil {
		t.Fatal(err)
	}
	awaitThat(t, time.Minute, "another agent", func() error {
		out, err := c.Kubectl(t.Context(), "-n", "ambit-system", "get", "pod", part(t, "ambit-agent", nodeA), "-o", "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].ready}")
		if err == nil && (len(out) < len(id) || out == "containerd://"+id+" true" || out[len(out)-4:] != "true") {
			err = fmt.Errorf("container, ready: %s", out)
		}
		return err
	})
	isDirect(t, ns, "server:9090")
	load.stop(t)
	deny(t, ns)
	held.ends(t)
}

// directAgentAway: a change of policy counts for new connections at once, for those that run when the agent is
// back: only it can end them.
func directAgentAway(t *testing.T) {
	ns := couple(t)
	held := heldDirect(t, ns, "server:9090")
	const nodes = `{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":%s}}}}}`
	back := func(ctx context.Context) { agentsRun(ctx, t, fmt.Sprintf(nodes, "null")) }
	t.Cleanup(func() { back(context.Background()) })
	kubectl(t, "-n", "ambit-system", "patch", "daemonset", "ambit-agent", "--type=merge", "-p", fmt.Sprintf(nodes, `"`+nodeB+`"`))
	awaitThat(t, time.Minute, "no agent", func() error {
		out, err := c.Kubectl(t.Context(), "-n", "ambit-system", "get", "pods", "-l", "app.kubernetes.io/name=ambit-agent", "--field-selector", "spec.nodeName="+nodeA, "-o", "name")
		if err == nil && out != "" {
			err = fmt.Errorf("still there: %s", out)
		}
		return err
	})
	load := begin(t, ns, "client", "load", "server:9090", long) // through the proxy now
	time.Sleep(5 * time.Second)
	load.stop(t)
	lift := deny(t, ns)
	refused(t, ns, "client", "http://server/")
	told, err := ambit(t, "check", "--kube")
	if line := lineWith(told, "warn", "ambit-agent on "+nodeA); line == "" {
		t.Errorf("ambit check does not say that the agent is away: %v\n%s", err, told)
	}
	select {
	case err := <-held.ended:
		t.Errorf("the connection that ran ended without an agent: %v", err)
		held.ended <- err
	default:
	}
	back(t.Context())
	held.ends(t)
	lift()
	isDirect(t, ns, "server:9090")
}

// directNodeRestarts: pods come back captured, a stranger is never answered, and calls go direct again.
func directNodeRestarts(t *testing.T) {
	ns, outside := couple(t), namespace(t, false)
	start(t, pod{namespace: outside, name: "stranger", node: nodeB})
	isDirect(t, ns, "server:9090")
	if err := c.Node(nodeA).Restart(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	noAnswer := never(t, outside, "stranger", "http://server."+ns+"/")
	if err := ready(t.Context()); err != nil {
		t.Error(err)
	}
	awaitThat(t, 90*time.Second, "the server answers again", func() error {
		_, err := work(t, ns, "client", "get", "http://server/", "3s")
		return err
	})
	isDirect(t, ns, "server:9090")
	noAnswer()
}
