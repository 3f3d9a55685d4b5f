package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

// traffic is one row of the table per service.
type traffic struct {
	source, service                string
	opened, failed, sent, received float64
}

// table reads Istio's TCP metrics of both nodes and prints them per service.
func (s *shop) table(ctx context.Context) (string, error) {
	rows, err := s.traffic(ctx)
	if err != nil {
		return "", err
	}
	for _, want := range [][2]string{{"web", "orders"}, {"orders", "payments"}} {
		if !slices.ContainsFunc(rows, func(r traffic) bool {
			return r.source == want[0] && r.service == want[1] && r.opened > 0 && r.sent > 0 && r.received > 0
		}) {
			return "", fmt.Errorf("the metrics show no traffic from %s to %s: %v", want[0], want[1], rows)
		}
	}
	var b strings.Builder
	fmt.Fprintln(&b, "istio_tcp_* of both nodes, as seen by the callers:")
	if err := printTraffic(&b, rows); err != nil {
		return "", err
	}
	return strings.ReplaceAll(strings.TrimRight(b.String(), "\n"), "\n", "\n       "), nil
}

func printTraffic(w io.Writer, rows []traffic) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "FROM\tSERVICE\tCONNECTIONS\tFAILED\tBYTES TO\tBYTES BACK")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\n", r.source, r.called(), r.opened, r.failed, r.sent, r.received)
	}
	return t.Flush()
}

// traffic sums both nodes' series of the reporter "source".
func (s *shop) traffic(ctx context.Context) ([]traffic, error) {
	rows := map[[2]string]*traffic{}
	for _, n := range s.nodes() {
		m, err := metrics(ctx, n)
		if err != nil {
			return nil, err
		}
		for name, field := range map[string]func(*traffic) *float64{
			"istio_tcp_connections_opened_total": func(t *traffic) *float64 { return &t.opened },
			"istio_tcp_connections_failed_total": func(t *traffic) *float64 { return &t.failed },
			// Istio counts from the proxy's side: received is what the opener sent.
			"istio_tcp_received_bytes_total": func(t *traffic) *float64 { return &t.sent },
			"istio_tcp_sent_bytes_total":     func(t *traffic) *float64 { return &t.received },
		} {
			for _, x := range m[name] {
				if x.labels["reporter"] != "source" {
					continue
				}
				key := [2]string{x.labels["source_workload"], x.labels["destination_service_name"]}
				if rows[key] == nil {
					rows[key] = &traffic{source: key[0], service: key[1]}
				}
				*field(rows[key]) += x.value
			}
		}
	}
	var out []traffic
	for _, r := range rows {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b traffic) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.service, b.service))
	})
	if len(out) == 0 {
		return nil, errors.New("no istio_tcp_ series at all")
	}
	return out, nil
}

// cost measures the added latency and the memory per pod.
func (s *shop) cost(ctx context.Context) (string, error) {
	mesh, err := s.measure(ctx, meshPings)
	if err != nil {
		return "", err
	}
	across, same := mesh.across-s.direct.across, mesh.same-s.direct.same
	parts := []string{}
	for _, n := range s.nodes() {
		z, a, err := memoryOf(n)
		if err != nil {
			return "", err
		}
		parts = append(parts, fmt.Sprintf("%s: ztunnel %.1f MB, agent %.1f MB", n.Name, z, a))
	}
	each, err := s.memoryOfMorePods(ctx)
	if err != nil {
		return "", err
	}
	if across <= 0 || s.direct.across <= 0 {
		return "", fmt.Errorf("measured nothing: direct %+v, mesh %+v", s.direct, mesh)
	}
	return fmt.Sprintf("median ping-pong: across nodes %s, %s without the mesh (added %s); on one node %s, %s without (added %s); a sidecar adds 5-10 ms\n       memory: %s, shared by all pods of the node; each of %d more pods took %.2f MB of both; a sidecar takes 50-100 MB per pod",
		round(mesh.across), round(s.direct.across), round(across), round(mesh.same), round(s.direct.same), round(same),
		strings.Join(parts, "; "), morePods, each), nil
}

const morePods = 20

// memoryOfMorePods enrols more pods on node-a and returns what each adds to ztunnel and agent, in MB.
func (s *shop) memoryOfMorePods(ctx context.Context) (float64, error) {
	n := s.lab.Node("node-a")
	before, err := settled(n)
	if err != nil {
		return 0, err
	}
	var pods []*lab.Pod
	for i := range morePods {
		p, err := s.lab.AddPod(ctx, lab.PodSpec{Namespace: namespace, Name: fmt.Sprintf("more-%d", i), Node: n.Name})
		if err != nil {
			return 0, err
		}
		pods = append(pods, p)
	}
	if err := lab.WaitEnrolled(ctx, pods...); err != nil {
		return 0, err
	}
	after, err := settled(n)
	for _, p := range pods {
		err = errors.Join(err, p.Delete())
	}
	return max(after-before, 0) / morePods, err
}

func settled(n *lab.Node) (float64, error) {
	time.Sleep(time.Second) // what a start or a burst leaves behind is collected meanwhile
	z, a, err := memoryOf(n)
	return z + a, err
}

func memoryOf(n *lab.Node) (ztunnel, agent float64, err error) {
	z := n.Ztunnel()
	if z == nil {
		return 0, 0, errors.New("no ztunnel runs on " + n.Name)
	}
	if ztunnel, err = resident(z.PID()); err != nil {
		return 0, 0, err
	}
	agent, err = resident(n.Agent().PID())
	return ztunnel, agent, err
}

// called is the service's name; pods can also be called by their address.
func (t traffic) called() string {
	if t.service == "unknown" {
		return "(a pod's address)"
	}
	return t.service
}
