package kube

import (
	"errors"
	"testing"
	"time"
)

// TestLabelCycles labels and unlabels a namespace under traffic: no connect fails, and a connection that is
// open lives through all of it.
func TestLabelCycles(t *testing.T) {
	cycles, look := 10, 3
	if full() {
		cycles, look = 100, 10
	}
	ns := namespace(t, false)
	start(t, pod{namespace: ns, name: "client", node: nodeA}, pod{namespace: ns, name: "server", node: nodeB})
	service(t, ns, "server")
	answers(t, ns, "client", "http://server/")
	load, hold := begin(t, ns, "client", "load", "server:9090", long), begin(t, ns, "client", "hold", "server:9090", long)
	for i := range cycles {
		kubectl(t, "label", "namespace", ns, "istio.io/dataplane-mode=ambient")
		if i%look == 0 {
			goesBy(t, ns, byMesh)
		}
		time.Sleep(500 * time.Millisecond)
		kubectl(t, "label", "namespace", ns, "istio.io/dataplane-mode-")
		if i%look == 0 {
			goesBy(t, ns, asItWas)
		}
		time.Sleep(500 * time.Millisecond)
	}
	hold.stop(t)
	load.stop(t)
	kubectl(t, "label", "namespace", ns, "istio.io/dataplane-mode=ambient")
	enrolled(t, ns, "client", "server")
	answers(t, ns, "client", "http://server/")
}

// goesBy waits until the pods are captured, or no longer, and the load that runs goes that way.
func goesBy(t *testing.T, ns string, mesh bool) {
	t.Helper()
	begin := time.Now()
	if mesh {
		enrolled(t, ns, "client", "server")
	} else {
		retired(t, ns, "client", "server")
	}
	awaitThat(t, 40*time.Second, "what the client opens is in tunnels, or is not", func() error {
		opened := func() int { return waysOf(t, ns).mesh }
		before := opened()
		time.Sleep(time.Second)
		more := opened() - before
		if mesh != (more > 0) {
			return errors.New("not yet")
		}
		return nil
	})
	t.Logf("by the mesh: %v, after %.1f s", mesh, time.Since(begin).Seconds())
}
