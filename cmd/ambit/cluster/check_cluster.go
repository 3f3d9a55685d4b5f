package cluster

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// minor is the oldest Kubernetes 1.x: admission policies, and node names in tokens.
const minor = 32

func (c *Cluster) checkServer(context.Context) ([]Line, error) {
	v, err := c.Core.Discovery().ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("ask for the version: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimRight(v.Minor, "+"))
	if v.Major == "1" && err == nil && n < minor {
		return one(Fail, "API server", "upgrade the cluster: older servers do not say on which node a token's pod runs", "%s; 1.%d or newer is needed", v.GitVersion, minor), nil
	}
	return one(OK, "API server", "", "%s", v.GitVersion), nil
}

func (c *Cluster) checkNodes(ctx context.Context) ([]Line, error) {
	nodes, err := c.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var out []Line
	good := 0
	for _, n := range nodes.Items {
		lines := checkNode(&n)
		if len(lines) == 0 {
			good++
		}
		out = append(out, lines...)
	}
	return append(one(OK, "nodes", "", "%d of %d can carry the mesh", good, len(nodes.Items)), out...), nil
}

func checkNode(n *corev1.Node) []Line {
	what, info := "node "+n.Name, n.Status.NodeInfo
	switch {
	case info.OperatingSystem != "linux":
		return one(Warn, what, "its pods stay outside of the mesh", "runs %s", info.OperatingSystem)
	case !kernelOK(info.KernelVersion):
		return one(Fail, what, "upgrade its kernel, or keep ambient pods off it", "kernel %s; 6.1 or newer is needed", info.KernelVersion)
	case !slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	}):
		return one(Warn, what, "kubectl describe node "+n.Name, "is not ready")
	}
	return nil
}

var release = regexp.MustCompile(`^(\d+)\.(\d+)`)

func kernelOK(version string) bool {
	m := release.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return major > 6 || major == 6 && minor >= 1
}
