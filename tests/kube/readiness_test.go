package kube

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReadiness: an endpoint comes and goes with its pod's readiness, unless the service publishes those
// that are not ready. A readiness gate says when the pod is ready.
func TestReadiness(t *testing.T) {
	ns := namespace(t, true)
	start(t, pod{namespace: ns, name: "client", node: nodeA})
	gated := pod{namespace: ns, name: "server", node: nodeB, spec: "readinessGates: [{conditionType: test.ambit.dev/open}]"}
	applyYAML(t, gated.yaml())
	service(t, ns, "server")
	expose(t, ns, "early", "publishNotReadyAddresses: true, selector: {app: server}, ports: [{port: 80, targetPort: 8080}]")
	enrolled(t, ns, "client", "server")

	t.Run("publishNotReadyAddresses", func(t *testing.T) {
		takes(t, ns, byMesh, func() { reaches(t, ns, "client", "http://early/", "server") })
		refused(t, ns, "client", "http://server/")
	})
	t.Run("within a second", func(t *testing.T) { within(t, ns) })
	reaches(t, ns, "client", "http://early/", "server")
}

// within opens and shuts the pod's gate five times while one client calls all the time. The slice's time is when
// a watch has it, the calls' when the first ended that went the other way, for good. Half of five must follow
// within a second: a busy machine may hold up any one of the programs that measure.
func within(t *testing.T, ns string) {
	watch := watched(t, ns)
	client := begin(t, ns, "client", "follow", "http://server/")
	type change struct {
		ready      bool
		slice, end time.Time
	}
	var all []change
	for i := range 10 {
		ready := i%2 == 0
		gate(t, ns, ready)
		ch := change{ready: ready, slice: watch(ready)}
		time.Sleep(1500 * time.Millisecond)
		ch.end = time.Now()
		all = append(all, ch)
	}
	client.stop(t)
	took := map[bool][]time.Duration{}
	for i, ch := range all {
		d := ch.end.Sub(ch.slice) // it did not follow
		if at, is := lastChange(t, client.out, ch.end); is == ch.ready && (i == 0 || at.After(all[i-1].end)) {
			d = at.Sub(ch.slice)
		}
		took[ch.ready] = append(took[ch.ready], d.Round(time.Millisecond))
	}
	for ready, all := range took {
		t.Logf("calls follow readiness %v after %v", ready, all)
		if slices.Sort(all); all[len(all)/2] > time.Second {
			t.Errorf("calls follow readiness %v after %v: more than half of them later than a second", ready, all)
		}
	}
}

// lastChange is the last one before some time that `work follow` printed.
func lastChange(t *testing.T, out string, before time.Time) (at time.Time, answered bool) {
	t.Helper()
	for line := range strings.Lines(out) {
		var us int64
		var is bool
		if _, err := fmt.Sscan(line, &us, &is); err != nil {
			t.Fatalf("changes: %q: %v", line, err)
		}
		if now := time.UnixMicro(us); now.Before(before) {
			at, answered = now, is
		}
	}
	return at, answered
}

// watched watches the server's slice, and returns how to wait until it says so, and since when.
func watched(t *testing.T, ns string) func(ready bool) time.Time {
	t.Helper()
	cmd := c.Control.EnterNet(c.Cache.Bin()+"/kubectl", "--kubeconfig", c.Kubeconfig(), "-n", ns, "get", "endpointslices", "-l", "kubernetes.io/service-name=server",
		"--watch", "-o", `jsonpath={.endpoints[*].conditions.ready}{"\n"}`)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("watch slices: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	type said struct {
		what string
		at   time.Time
	}
	says := make(chan said, 1000)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			says <- said{s.Text(), time.Now()}
		}
	}()
	return func(ready bool) time.Time {
		t.Helper()
		for end := time.After(20 * time.Second); ; {
			select {
			case s := <-says:
				if s.what == fmt.Sprint(ready) {
					return s.at
				}
			case <-end:
				t.Fatalf("no slice says that the endpoint's readiness is %v", ready)
			}
		}
	}
}

// gate opens or shuts the pod's gate.
func gate(t *testing.T, ns string, ready bool) {
	t.Helper()
	status := map[bool]string{true: "True", false: "False"}[ready]
	kubectl(t, "-n", ns, "patch", "pod", "server", "--subresource=status", "--type=strategic", "-p",
		fmt.Sprintf(`{"status":{"conditions":[{"type":"test.ambit.dev/open","status":%q}]}}`, status))
}
