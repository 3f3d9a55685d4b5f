package kube

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestRollBoth replaces all agents and all proxies at once: no connect fails, and a connection that is open
// lives until the drain time of the first proxy is almost over.
func TestRollBoth(t *testing.T) {
	ns := pair(t)
	load, hold := begin(t, ns, "client", "load", "server:9090", long), begin(t, ns, "client", "hold", "server:9090", long)
	time.Sleep(2 * time.Second)
	kubectl(t, "-n", "ambit-system", "rollout", "restart", "daemonset/ambit-agent", "daemonset/ambit-ztunnel")
	time.Sleep(time.Until(firstEnd(t).Add(28 * time.Second))) // of 30
	hold.stop(t)
	if err := ready(t.Context()); err != nil {
		t.Error(err)
	}
	load.stop(t)
	answers(t, ns, "client", "http://server/")
}

// firstEnd is when the first proxy was told to end.
func firstEnd(t *testing.T) (at time.Time) {
	t.Helper()
	awaitThat(t, 90*time.Second, "a proxy that is told to end", func() error {
		out, err := c.Kubectl(t.Context(), "-n", "ambit-system", "get", "pods", "-l", "app.kubernetes.io/name=ambit-ztunnel",
			"-o", `jsonpath={range .items[*]}{.metadata.deletionTimestamp} {.metadata.deletionGracePeriodSeconds}{"\n"}{end}`)
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) == 2 {
				end, bad := time.Parse(time.RFC3339, f[0])
				grace, bad2 := time.ParseDuration(f[1] + "s")
				at = end.Add(-grace)
				return errors.Join(err, bad, bad2)
			}
		}
		return errors.Join(err, errors.New("none yet"))
	})
	return at
}
