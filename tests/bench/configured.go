package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// perService is how many workloads a service has, and a policy is for.
const perService = 10

// configured measures what a configuration of n workloads, with a service and a policy for each ten, takes of
// the proxies' memory.
func (r *runner) configured(ctx context.Context, engine string, n int) (err error) {
	name := report.Mesh(engine)
	if !r.wanted(name) {
		return nil
	}
	w, err := r.build(ctx, plan{engines: []string{engine}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	c := w.chain(name)
	_, rest, err := settled(ctx, c.proxies)
	if err != nil {
		return err
	}
	if err := w.putConfiguration(ctx, c, n); err != nil {
		return err
	}
	early, full, err := settled(ctx, c.proxies)
	if err != nil {
		return err
	}
	sample := report.Sample{Workload: report.Configured(n, n/perService), Chain: name, Unit: "MB"}
	for metric, v := range map[string]float64{"resident": full.all, report.Unsettled: early.all, report.Added: full.all - rest.all} {
		sample.Metric, sample.Value = metric, v/1e6
		r.add(0, sample)
	}
	say("%s, %d workloads: %.1f MB more", name, n, (full.all-rest.all)/1e6)
	return nil
}

// putConfiguration returns when both proxies know all of it.
func (w *world) putConfiguration(ctx context.Context, c chain, n int) error {
	docs := make([]string, 0, n+2*n/perService)
	for i := range n {
		docs = append(docs, fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: service-%[2]d-7d45dd7b89-%[1]d, namespace: crowd, uid: crowd-%[1]d, labels: {app: service-%[2]d}}
spec: {nodeName: elsewhere, serviceAccountName: service-%[2]d, containers: [{name: app, image: app}]}
status: {phase: Running, podIP: 10.%[3]d.%[4]d.%[5]d, podIPs: [{ip: 10.%[3]d.%[4]d.%[5]d}], conditions: [{type: Ready, status: "True"}]}
`, i, i/perService, 200+i>>16, i>>8&255, i&255))
	}
	for i := range n / perService {
		docs = append(docs, fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: service-%[1]d, namespace: crowd}
spec: {clusterIP: 10.198.%[2]d.%[3]d, clusterIPs: [10.198.%[2]d.%[3]d], selector: {app: service-%[1]d}, ports: [{name: a, port: 80, targetPort: 8080}]}
`, i, i>>8, i&255), fmt.Sprintf(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: policy-%[1]d, namespace: crowd}
spec:
  selector: {matchLabels: {app: service-%[1]d}}
  rules:
  - from: [{source: {principals: ["cluster.local/ns/crowd/sa/caller-%[1]d"]}}]
    to: [{operation: {ports: ["8080"]}}]
`, i))
	}
	if err := w.apply("configuration", docs); err != nil {
		return err
	}
	return w.known(ctx, c, func(node *lab.Node) error {
		b, err := node.GetZtunnel(ctx, "/config_dump")
		if err != nil {
			return err
		}
		var d struct{ Workloads, Services, Policies []json.RawMessage }
		if err := json.Unmarshal(b, &d); err != nil {
			return fmt.Errorf("decode configuration: %w", err)
		}
		if len(d.Workloads) < n || len(d.Services) < n/perService || len(d.Policies) < n/perService {
			return fmt.Errorf("%s knows %d workloads, %d services and %d policies", node.Name, len(d.Workloads), len(d.Services), len(d.Policies))
		}
		return nil
	}, w.nodesOf(c)...)
}

// nodesOf are the two nodes of a mesh's chain.
func (w *world) nodesOf(c chain) []*lab.Node {
	near := c.client.Node.Name
	return []*lab.Node{w.lab.Node(near), w.lab.Node(strings.TrimSuffix(near, "-a") + "-b")}
}
