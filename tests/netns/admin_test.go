package netns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/internal/lab"
)

// workload is what the tests read of a workload in a config dump.
type workload struct {
	Name        string   `json:"name"`
	Namespace   string   `json:"namespace"`
	Protocol    string   `json:"protocol"`
	WorkloadIPs []string `json:"workloadIps"`
}

// workload finds a pod in the config dump of a node's ztunnel.
func (m *mesh) workload(c context.Context, node string, p *lab.Pod) (workload, error) {
	b, err := m.Node(node).GetZtunnel(c, "/config_dump")
	if err != nil {
		return workload{}, err
	}
	var dump struct {
		Workloads []workload `json:"workloads"`
	}
	if err := json.Unmarshal(b, &dump); err != nil {
		return workload{}, fmt.Errorf("decode config dump: %w", err)
	}
	for _, w := range dump.Workloads {
		if w.Namespace+"/"+w.Name == p.FullName() && slices.Contains(w.WorkloadIPs, p.Addresses()[0].String()) {
			return w, nil
		}
	}
	return workload{}, fmt.Errorf("ztunnel of %s does not know workload %s", node, p.FullName())
}

// connection is one entry of /connections.
type connection struct {
	Kind, Pod, Path, Policy string
	Source, Destination     struct{ Address, Identity, Service string }
	Sent, Received          uint64
}

// connections asks a node's ztunnel.
func (m *mesh) connections(c context.Context, node string) ([]connection, error) {
	b, err := m.Node(node).GetZtunnel(c, "/connections")
	if err != nil {
		return nil, err
	}
	var out struct{ Connections []connection }
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("decode connections: %w", err)
	}
	return out.Connections, nil
}

// explanation is what the tests read of an explanation.
type explanation struct {
	Path, Policy, Reason, Detail string
	Service                      string
	Allowed                      bool
	Steps                        []string
	Endpoints                    []struct {
		Workload, Address string
		Ejected           bool
	}
}

// explain asks a node's ztunnel about a connection.
func (m *mesh) explain(c context.Context, node, source, destination string, port int) (explanation, error) {
	q := url.Values{"source": {source}, "destination": {destination}, "port": {fmt.Sprint(port)}}
	b, err := m.Node(node).GetZtunnel(c, "/explain?"+q.Encode())
	if err != nil {
		return explanation{}, err
	}
	var out explanation
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("decode explanation: %w", err)
	}
	return out, nil
}

// metric adds up the samples of a metric of a node's ztunnel whose labels contain all of the given
// parts, for example `reason="policy_deny"`.
func (m *mesh) metric(c context.Context, node, name string, parts ...string) (float64, error) {
	b, err := m.Node(node).GetZtunnel(c, "/metrics")
	if err != nil {
		return 0, err
	}
	return sum(string(b), name, parts), nil
}

func sum(metrics, name string, parts []string) float64 {
	total := 0.0
	for line := range strings.Lines(metrics) {
		labels, value, ok := strings.Cut(strings.TrimPrefix(line, name), "} ")
		if !ok || !strings.HasPrefix(line, name+"{") {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err == nil && all(parts, labels) {
			total += v
		}
	}
	return total
}

func all(parts []string, in string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(in, p) })
}

// outbound finds a pod's captured connection by its source port.
func (m *mesh) outbound(c context.Context, node string, from *lab.Pod, port uint16) (connection, error) {
	all, err := m.connections(c, node)
	if err != nil {
		return connection{}, err
	}
	for _, x := range all {
		if x.Kind == "outbound" && x.Pod == from.FullName() && strings.HasSuffix(x.Source.Address, fmt.Sprintf(":%d", port)) {
			return x, nil
		}
	}
	return connection{}, fmt.Errorf("no outbound connection of %s from port %d among %+v", from.FullName(), port, all)
}
