package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster"
)

// running is the workload's program at work in a pod.
type running struct {
	what, container string
	node            *cluster.Node
	ended           chan error
	out             string // once it has ended
}

// begin runs the workload's program in a pod through the node's runtime: kubectl exec ends with the API
// server.
func begin(t *testing.T, ns, pod string, args ...string) *running {
	t.Helper()
	at := strings.Fields(kubectl(t, "-n", ns, "get", "pod", pod, "-o", "jsonpath={.spec.nodeName} {.status.containerStatuses[0].containerID}"))
	r := &running{what: args[0], container: strings.TrimPrefix(at[1], "containerd://"), node: c.Node(at[0]), ended: make(chan error, 1)}
	exec := r.ctr("exec", r.container, "/work")
	go func() {
		out, err := r.node.Run(t.Context(), append(exec, args...)...)
		r.out = strings.TrimSpace(out)
		r.ended <- err
	}()
	return r
}

func (r *running) ctr(do string, args ...string) []string {
	return append([]string{c.Cache.Bin() + "/ctr", "-n", "k8s.io", "task", do, "--exec-id", r.what}, args...)
}

// wait waits for its end, and tells what went wrong.
func (r *running) wait(t *testing.T) {
	t.Helper()
	if err := <-r.ended; err != nil {
		t.Errorf("%s: %v", r.what, err)
	}
	t.Logf("%s: %s", r.what, r.out)
}

// stop asks it to end, if it has not ended by itself.
func (r *running) stop(t *testing.T) {
	t.Helper()
	_, told := r.node.Run(t.Context(), r.ctr("kill", "-s", "SIGTERM", r.container)...)
	select {
	case err := <-r.ended:
		r.ended <- err
		r.wait(t)
	case <-time.After(20 * time.Second):
		t.Errorf("%s does not end: %v", r.what, told)
	}
}

// long is longer than anything takes that a call is to outlive.
const long = "15m"

// underLoad connects all the time while do runs; a connection that is open before lives for length at least.
func underLoad(t *testing.T, ns string, length time.Duration, do func()) {
	t.Helper()
	load, hold := begin(t, ns, "client", "load", "server:9090", long), begin(t, ns, "client", "hold", "server:9090", length.String())
	time.Sleep(2 * time.Second)
	do()
	hold.wait(t)
	load.stop(t)
}

// never calls a URL all the time, which must never be answered, until it is told to end.
func never(t *testing.T, ns, pod, url string) (end func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	let := make(chan string, 1)
	go func() {
		defer close(let)
		for ctx.Err() == nil {
			body, err := work(t, ns, pod, "get", url, "1s")
			if err == nil && body == "" {
				err = errors.New("no body")
			}
			if err == nil {
				let <- body
				return
			}
		}
	}()
	return func() {
		t.Helper()
		stop()
		if body, ok := <-let; ok {
			t.Errorf("%s was answered: %s", pod, body)
		}
	}
}
