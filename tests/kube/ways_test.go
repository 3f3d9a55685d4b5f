package kube

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ways says how many connections of a namespace's pods went by the mesh, and how many as they were, as
// the proxies of their nodes count them.
type ways struct{ mesh, plain int }

func waysOf(t *testing.T, ns string) (w ways) {
	t.Helper()
	for _, n := range c.Nodes {
		path := "/api/v1/namespaces/ambit-system/pods/" + proxy(t, n.Name) + ":15020/proxy/metrics"
		for line := range strings.Lines(kubectl(t, "get", "--raw", path)) {
			w.add(t, ns, strings.TrimSpace(line))
		}
	}
	return w
}

// add counts a line. Of a way by the mesh both ends are known: a tunnel's, and a hand-over's on one node.
func (w *ways) add(t *testing.T, ns, line string) {
	t.Helper()
	labels, value, ok := strings.Cut(line, "} ")
	for _, want := range []string{"istio_tcp_connections_opened_total{", `reporter="source"`, fmt.Sprintf("source_workload_namespace=%q", ns)} {
		ok = ok && strings.Contains(labels, want)
	}
	if !ok {
		return
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		t.Fatalf("metrics: %q: %v", line, err)
	}
	if strings.Contains(labels, `destination_principal="spiffe://`) {
		w.mesh += int(n)
	} else {
		w.plain += int(n)
	}
}

const (
	byMesh  = true
	asItWas = false
)

// takes checks that all connections which do opens, one at least, go by the mesh, or that none does. It
// does it again if not: a call may come before the proxies know of a service that was just made.
func takes(t *testing.T, ns string, mesh bool, do func()) {
	t.Helper()
	awaitThat(t, 40*time.Second, "all go one way", func() error {
		before := waysOf(t, ns)
		do()
		now := waysOf(t, ns)
		more := ways{now.mesh - before.mesh, now.plain - before.plain}
		if mesh && more.mesh > 0 && more.plain == 0 || !mesh && more.mesh == 0 && more.plain > 0 {
			return nil
		}
		return fmt.Errorf("by the mesh, as they were: %+v", more)
	})
}

// spread gets a URL some times and says which pods answered, in order. The first answer may take its time.
func spread(t *testing.T, ns, from, url string) []string {
	t.Helper()
	pods := map[string]bool{podIn(answers(t, ns, from, url)): true}
	for range 7 {
		body, err := work(t, ns, from, "get", url)
		if err != nil {
			t.Errorf("%s gets %s: %v", from, url, err)
			continue
		}
		pods[podIn(body)] = true
	}
	return slices.Sorted(maps.Keys(pods))
}

// podIn is the pod that says its name in a body.
func podIn(body string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(body, "pod="), " ")
	return name
}

// reaches checks which pods answer a URL, in order of their names. Until all know of the service, it may
// be answered by fewer or others.
func reaches(t *testing.T, ns, from, url string, want ...string) {
	t.Helper()
	begin := time.Now()
	awaitThat(t, 30*time.Second, from+" reaches at "+url, func() error {
		if got := spread(t, ns, from, url); !slices.Equal(got, want) {
			return fmt.Errorf("answered by %v, not by %v", got, want)
		}
		return nil
	})
	t.Logf("%s reaches %v at %s: asked for %.1f s", from, want, url, time.Since(begin).Seconds())
}
