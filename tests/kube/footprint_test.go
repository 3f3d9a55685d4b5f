package kube

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestFootprint reports the resident memory of each part, and compares it with what its manifest requests.
func TestFootprint(t *testing.T) {
	out := kubectl(t, "-n", "ambit-system", "get", "pods", "-o",
		`jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.status.containerStatuses[0].containerID} {.spec.containers[0].resources.requests.memory}{"\n"}{end}`)
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 4 {
			t.Fatalf("a part of the mesh does not run: %s", line)
		}
		has, err := residentMiB(t, f[1], strings.TrimPrefix(f[2], "containerd://"))
		if err != nil {
			t.Error(err)
			continue
		}
		requests, err := strconv.Atoi(strings.TrimSuffix(f[3], "Mi"))
		if err != nil {
			t.Errorf("%s requests %s of memory", f[0], f[3])
			continue
		}
		t.Logf("%s: %.1f MiB resident, requests %d MiB", f[0], has, requests)
		if has > 2*float64(requests) {
			t.Errorf("%s has twice of what it requests", f[0])
		}
	}
}

func residentMiB(t *testing.T, node, container string) (float64, error) {
	t.Helper()
	const script = `grep VmRSS /proc/$("$1" -n k8s.io task ls | awk -v c="$2" '$1==c {print $2}')/status`
	out, err := c.Node(node).Run(t.Context(), "sh", "-c", script, "sh", c.Cache.Bin()+"/ctr", container)
	if err != nil {
		return 0, err
	}
	var kib float64
	if _, err := fmt.Sscanf(out, "VmRSS: %f kB", &kib); err != nil {
		return 0, fmt.Errorf("resident memory in %q: %w", out, err)
	}
	return kib / 1024, nil
}
