package kube

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// counted is what a pod of the mesh's own tells of a metric: the sum of its series that have these labels.
func counted(t *testing.T, pod, metric string, labels ...string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(kubectl(t, "get", "--raw", "/api/v1/namespaces/ambit-system/pods/"+pod+":15020/proxy/metrics")) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ := strings.Cut(series, "{")
		if name != metric || !hasAll(series, labels) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metrics of %s: %q: %v", pod, line, err)
		}
		sum += n
	}
	return sum
}

func hasAll(series string, labels []string) bool {
	for _, l := range labels {
		if !strings.Contains(series, l) {
			return false
		}
	}
	return true
}

// sentBytes is what the controllers have sent to proxies of what the mesh is and of its policies.
func sentBytes(t *testing.T) (n float64) {
	t.Helper()
	for _, r := range controllers(t) {
		for _, kind := range []string{"istio.workload.Address", "istio.security.Authorization"} {
			n += counted(t, r.name, "ambit_xds_response_bytes_total", fmt.Sprintf("url=\"type.googleapis.com/%s\"", kind))
		}
	}
	return n
}
