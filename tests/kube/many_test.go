package kube

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// full says whether the long version of the tests runs.
func full() bool { return os.Getenv("AMBIT_FULL") != "" }

// TestManyPods enrols 100 running pods of one node at once.
func TestManyPods(t *testing.T) {
	count := 100
	if !full() {
		count = 30
	}
	ns := namespace(t, false)
	var all strings.Builder
	for i := range count {
		one := pod{namespace: ns, name: fmt.Sprintf("many-%03d", i), node: nodeA, args: []string{"sleep", "1h"}}
		if i == 0 || i == count-1 {
			one.args = nil // serves
		}
		all.WriteString("---" + one.yaml())
	}
	begin := time.Now()
	applyYAML(t, all.String())
	kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=400s")
	t.Logf("%d pods started in %.1f s", count, time.Since(begin).Seconds())
	begin = time.Now()
	kubectl(t, "label", "namespace", ns, "istio.io/dataplane-mode=ambient")
	awaitThat(t, 2*time.Minute, "capture of all", func() error {
		out, err := c.Kubectl(t.Context(), "-n", ns, "get", "pods", "-o", `jsonpath={range .items[*]}{.metadata.annotations.ambient\.istio\.io/redirection}{"\n"}{end}`)
		if n := strings.Count(out, "enabled"); err == nil && n != count {
			err = fmt.Errorf("%d of %d", n, count)
		}
		return err
	})
	t.Logf("%d pods of one node enrolled at once in %.2f s", count, time.Since(begin).Seconds())
	start(t, pod{namespace: ns, name: "client", node: nodeB})
	enrolled(t, ns, "client")
	for _, name := range []string{"many-000", fmt.Sprintf("many-%03d", count-1)} {
		at := address(t, ns, name)
		takes(t, ns, byMesh, func() {
			if body := answers(t, ns, "client", "http://"+at+":8080/"); podIn(body) != name {
				t.Errorf("%s answered: %s", name, body)
			}
		})
		if out, err := work(t, ns, "client", "get", "http://"+at+":1/", "3s"); err == nil {
			t.Errorf("a port that nobody listens on answered: %s", out)
		}
	}
}
