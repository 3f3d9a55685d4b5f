package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAPIServerAway: nothing changes in the data path, not even when an agent starts again meanwhile: what
// is enrolled stays so. Once the server is back, the controllers send what has changed and no more.
func TestAPIServerAway(t *testing.T) {
	away := 15 * time.Second
	if full() {
		away = 2 * time.Minute
	}
	ns := pair(t)
	before := controllers(t)
	all := fill(t, ns)
	agent := containerOf(t, "ambit-system", part(t, "ambit-agent", nodeB))
	sent := sentBytes(t)
	underLoad(t, ns, away+10*time.Second, func() {
		if err := c.Control.Hold("kube-apiserver"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		time.Sleep(2 * time.Second)
		if _, err := c.Node(nodeB).Run(t.Context(), c.Cache.Bin()+"/ctr", "-n", "k8s.io", "task", "kill", "-s", "SIGKILL", agent); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Until(begin.Add(away)))
		if err := c.Control.Release("kube-apiserver"); err != nil {
			t.Fatal(err)
		}
	})
	awaitThat(t, time.Minute, "API server", func() error {
		_, err := c.Kubectl(t.Context(), "get", "--raw", "/readyz")
		return err
	})
	start(t, pod{namespace: ns, name: "later", node: nodeA})
	enrolled(t, ns, "later")
	answers(t, ns, "later", "http://server/")
	if now := controllers(t); !slices.Equal(now, before) {
		t.Fatalf("the controllers are others: %v, not %v", now, before)
	}
	again := sentBytes(t) - sent
	t.Logf("sent for %d services when they were new: %.0f bytes; after the API server was away for %v, with a new pod: %.0f bytes", filling, all, away, again)
	if again <= 0 || again > all/4 { // half would be all of it to one node
		t.Errorf("%.0f bytes were sent again, of %.0f", again, all)
	}
}

// filling is how many services make what there is to send large, beside one pod.
const filling = 200

// fill makes services and returns how many bytes it took to tell all proxies.
func fill(t *testing.T, ns string) float64 {
	t.Helper()
	before, last := sentBytes(t), 0.0
	var all strings.Builder
	for i := range filling {
		fmt.Fprintf(&all, "---\n{apiVersion: v1, kind: Service, metadata: {name: filling-%03d, namespace: %s}, spec: {ports: [{port: 80}]}}\n", i, ns)
	}
	applyYAML(t, all.String())
	awaitThat(t, 60*time.Second, "all proxies are told of the services", func() error {
		time.Sleep(2 * time.Second)
		was := last
		if last = sentBytes(t); last == before || last != was {
			return errors.New("there is more to send")
		}
		return nil
	})
	return last - before
}
