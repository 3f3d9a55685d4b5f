package kube

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster/build"
)

// TestProbesUnderStrict starts pods in a namespace that is in the mesh and STRICT already: each kind of
// probe passes, and none starts a container again.
func TestProbesUnderStrict(t *testing.T) {
	ns := namespace(t, true)
	strict(t, ns)
	kinds := map[string]string{
		"http": `httpGet: {path: /healthz, port: 8080}`,
		"tcp":  `tcpSocket: {port: 9090}`,
		"grpc": `grpc: {port: 9091}`,
		"exec": `exec: {command: [/work, get, "http://127.0.0.1:8080/healthz"]}`,
	}
	var pods []pod
	for name, probe := range kinds {
		more := fmt.Sprintf("readinessProbe: {%[1]s, periodSeconds: 1}, livenessProbe: {%[1]s, periodSeconds: 1, failureThreshold: 2, initialDelaySeconds: 3}", probe)
		pods = append(pods, pod{namespace: ns, name: name, node: nodeA, more: more})
	}
	start(t, pods...)
	for name := range kinds {
		enrolled(t, ns, name)
		staysReady(t, ns, name, 4*time.Second)
	}
}

// TestJobs: what is captured does not keep a pod from completing.
func TestJobs(t *testing.T) {
	ns := namespace(t, true)
	strict(t, ns)
	start(t, pod{namespace: ns, name: "server", node: nodeB})
	service(t, ns, "server")
	enrolled(t, ns, "server")
	const spec = `{template: {spec: {restartPolicy: Never, containers: [{name: work, image: "%s", imagePullPolicy: Never, args: [get, "http://server/"]}]}}, backoffLimit: 0}`
	job := fmt.Sprintf(spec, build.WorkImage)
	applyYAML(t, fmt.Sprintf("{apiVersion: batch/v1, kind: Job, metadata: {name: once, namespace: %s}, spec: %s}", ns, job))
	applyYAML(t, fmt.Sprintf(`{apiVersion: batch/v1, kind: CronJob, metadata: {name: often, namespace: %s}, spec: {schedule: "* * * * *", jobTemplate: {spec: %s}}}`, ns, job))
	kubectl(t, "-n", ns, "wait", "--for=condition=Complete", "job/once", "--timeout=60s")
	awaitThat(t, 100*time.Second, "the CronJob completes", func() error {
		out, err := c.Kubectl(t.Context(), "-n", ns, "get", "cronjob", "often", "-o", "jsonpath={.status.lastSuccessfulTime}")
		if err == nil && out == "" {
			err = fmt.Errorf("not yet")
		}
		return err
	})
}

// TestInitContainer: the first packet of a pod is captured: an init container reaches a STRICT server.
func TestInitContainer(t *testing.T) {
	ns := namespace(t, true)
	strict(t, ns)
	start(t, pod{namespace: ns, name: "server", node: nodeB})
	service(t, ns, "server")
	enrolled(t, ns, "server")
	init := fmt.Sprintf(`initContainers: [{name: first, image: "%s", imagePullPolicy: Never, args: [get, "http://server/"]}]`, build.WorkImage)
	start(t, pod{namespace: ns, name: "client", node: nodeA, spec: init})
	if n := kubectl(t, "-n", ns, "get", "pod", "client", "-o", "jsonpath={.status.initContainerStatuses[0].restartCount}"); n != "0" {
		t.Errorf("the init container was started again %s times", n)
	}
}

// TestHostPort: a node's port leads to a captured pod.
func TestHostPort(t *testing.T) {
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "server", node: nodeB, more: "ports: [{containerPort: 8080, hostPort: 18080}]"})
	enrolled(t, ns, "server")
	awaitThat(t, 20*time.Second, "answer at the host port", func() error {
		out, err := c.Node(nodeA).Run(t.Context(), c.Cache.Bin()+"/work", "get", "http://"+c.Node(nodeB).Address+":18080/", "3s")
		if err == nil && !strings.Contains(out, "pod=server") {
			err = fmt.Errorf("answered: %s", out)
		}
		return err
	})
}

// TestContainerRestart: another container in the same pod is captured as the first was.
func TestContainerRestart(t *testing.T) {
	ns := namespace(t, true)
	strict(t, ns)
	start(t, pod{namespace: ns, name: "client", node: nodeA}, pod{namespace: ns, name: "server", node: nodeB})
	service(t, ns, "server")
	enrolled(t, ns, "client", "server")
	answers(t, ns, "client", "http://server/")
	id := strings.TrimPrefix(kubectl(t, "-n", ns, "get", "pod", "server", "-o", "jsonpath={.status.containerStatuses[0].containerID}"), "containerd://")
	b := c.Node(nodeB)
	if _, err := b.Run(t.Context(), c.Cache.Bin()+"/ctr", "-n", "k8s.io", "task", "kill", "-s", "SIGKILL", id); err != nil {
		t.Fatal(err)
	}
	awaitThat(t, 60*time.Second, "the container runs again", func() error {
		out, err := c.Kubectl(t.Context(), "-n", ns, "get", "pod", "server", "-o", "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}")
		if err == nil && out != "1 true" {
			err = fmt.Errorf("restarts, ready: %s", out)
		}
		return err
	})
	answers(t, ns, "client", "http://server/")
}
