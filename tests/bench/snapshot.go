package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// snapshot measures what the size of the configuration costs a connection and a message: it should cost
// nothing. Each kind has a lab of its own.
func (r *runner) snapshot(ctx context.Context) error {
	for _, x := range []struct {
		what  string
		sizes []int
		put   func(*world, context.Context, chain, int) error
	}{
		{report.OtherPolicies, r.o.policies, func(w *world, ctx context.Context, c chain, n int) error { return w.putPolicies(ctx, c, n, "crowd") }},
		{report.OwnPolicies, r.o.policies, func(w *world, ctx context.Context, c chain, n int) error {
			return w.putPolicies(ctx, c, n, meshNamespace)
		}},
		{report.Workloads, r.o.workloads, (*world).putWorkloads},
	} {
		if err := r.sizes(ctx, x.what, x.sizes, x.put); err != nil {
			return err
		}
	}
	return r.rbac()
}

func (r *runner) sizes(ctx context.Context, what string, sizes []int, put func(*world, context.Context, chain, int) error) (err error) {
	engine := r.has.best()
	w, err := r.build(ctx, plan{engines: []string{engine}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	c := w.chain(report.Mesh(engine))
	for _, n := range sizes {
		begin := time.Now()
		if err := put(w, ctx, c, n); err != nil {
			r.fail(c.name, fmt.Sprintf("%d %s", n, what), err)
			return ctx.Err()
		}
		took := time.Since(begin)
		say("%d %s: known everywhere after %s", n, what, took.Round(10*time.Millisecond))
		size := report.Snapshot(n, what)
		r.add(0, report.Sample{Workload: size, Chain: c.name, Metric: "known after", Unit: "s", Value: took.Seconds()})
		if err := r.sized(ctx, w, c, size); err != nil {
			return err
		}
	}
	return nil
}

// sized measures messages and connections, interleaved with no mesh, and the proxies' memory.
func (r *runner) sized(ctx context.Context, w *world, c chain, size string) error {
	full, err := resting(ctx, c.proxies)
	if err != nil {
		return err
	}
	r.add(0, report.Sample{Workload: size, Chain: c.name, Metric: "resident", Unit: "MB", Value: full / 1e6})
	jobs := []workload{
		{name: size + report.SizedPing, job: pingpong(1, 1024), per: 1e5, unit: cpuPer100k},
		{name: size + report.SizedConnect, job: connect(1, 64), per: 1e3, unit: cpuPer1k},
	}
	for round := range min(r.o.rounds, 4) {
		for _, l := range jobs {
			for _, c := range []chain{w.chain(report.Direct), c} {
				s, err := w.measure(ctx, c, l, r.o.each)
				if err != nil {
					r.fail(c.name, l.name, err)
					continue
				}
				r.add(round, s...)
			}
		}
		w.trim(c)
	}
	return nil
}

const snapshotLimit = 3 * time.Minute

// putWorkloads describes workloads that nobody calls.
func (w *world) putWorkloads(ctx context.Context, c chain, n int) error {
	docs := make([]string, 0, n)
	at := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", 200+i>>16, i>>8&255, i&255) }
	for i := range n {
		docs = append(docs, fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: w%[1]d, namespace: crowd, uid: w%[1]d, labels: {app: a%[2]d}}
spec: {nodeName: elsewhere, serviceAccountName: sa%[2]d, containers: [{name: app, image: app}]}
status: {phase: Running, podIP: %[3]s, podIPs: [{ip: %[3]s}], conditions: [{type: Ready, status: "True"}]}
`, i, i%100, at(i)))
	}
	if err := w.apply("workload", docs); err != nil {
		return err
	}
	return w.known(ctx, c, func(node *lab.Node) error {
		b, err := node.GetZtunnel(ctx, "/explain?source="+c.client.FullName()+"&destination="+at(n-1)+"&port=80")
		if err != nil {
			return err
		}
		var e struct{ Path string }
		if err := json.Unmarshal(b, &e); err != nil {
			return fmt.Errorf("decode explanation: %w", err)
		}
		if e.Path == "passthrough" {
			return fmt.Errorf("%s does not know the last of %d workloads", node.Name, n)
		}
		return nil
	}, w.lab.Node(c.client.Node.Name))
}

// putPolicies describes policies of a namespace. Those of the server's are judged at every connection.
func (w *world) putPolicies(ctx context.Context, c chain, n int, namespace string) error {
	docs := make([]string, 0, n)
	for i := range n {
		docs = append(docs, fmt.Sprintf(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p%d, namespace: %s}
spec:
  action: DENY
  rules:
  - from: [{source: {principals: ["cluster.local/ns/crowd/sa/sa%d"]}}]
    to: [{operation: {ports: ["%d"]}}]
`, i, namespace, i, serverBase+i%10))
	}
	if err := w.apply("policy", docs); err != nil {
		return err
	}
	far := w.lab.Node(strings.TrimSuffix(c.client.Node.Name, "-a") + "-b")
	return w.known(ctx, c, func(node *lab.Node) error {
		b, err := node.GetZtunnel(ctx, "/config_dump")
		if err != nil {
			return err
		}
		var d struct{ Policies []json.RawMessage }
		if err := json.Unmarshal(b, &d); err != nil {
			return fmt.Errorf("decode configuration: %w", err)
		}
		if len(d.Policies) < n {
			return fmt.Errorf("%s knows %d policies", node.Name, len(d.Policies))
		}
		return nil
	}, far)
}

const perFile = 2000 // documents

// apply replaces all files of objects whose name starts with a word.
func (w *world) apply(name string, docs []string) error {
	old, err := filepath.Glob(filepath.Join(w.lab.ObjectsDir(), name+"-*.yaml"))
	if err != nil {
		return fmt.Errorf("list objects: %w", err)
	}
	files := 0
	for part := range slices.Chunk(docs, perFile) {
		if err := w.lab.Apply(fmt.Sprintf("%s-%d", name, files), strings.Join(part, "---\n")); err != nil {
			return err
		}
		files++
	}
	for i := files; i < len(old); i++ {
		if err := w.lab.Remove(fmt.Sprintf("%s-%d", name, i)); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) known(ctx context.Context, c chain, check func(*lab.Node) error, nodes ...*lab.Node) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotLimit)
	defer cancel()
	for _, n := range nodes {
		for {
			err := check(n)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return errors.Join(err, ctx.Err())
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return w.verify(ctx, c)
}
