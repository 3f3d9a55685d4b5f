package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

const waitUp = 20 * time.Second

// node starts a node's agent and ztunnel.
func (w *world) node(ctx context.Context, name string, flags []string) error {
	n := w.lab.Node(name)
	return w.places.on(w.places.of(name), func() error {
		if err := n.StartAgent(ctx); err != nil {
			return err
		}
		_, err := n.StartZtunnel(ctx, flags...)
		return err
	})
}

func agentOf(n *lab.Node) string { return filepath.Join(n.Cgroup(), "agent") }

// pair makes two nodes with an engine, their pods and the chains over them.
func (w *world) pair(ctx context.Context, engine string, more int) error {
	a, b := engine+"-a", engine+"-b"
	for _, name := range []string{a, b} {
		if err := w.node(ctx, name, w.has.flags(engine, "proxy")); err != nil {
			return err
		}
	}
	client, err := w.pod(ctx, meshNamespace, "client-"+engine, a, false)
	if err != nil {
		return err
	}
	other, err := w.pod(ctx, meshNamespace, "other-"+engine, a, false)
	if err != nil {
		return err
	}
	server, err := w.pod(ctx, meshNamespace, "server-"+engine, b, true)
	if err != nil {
		return err
	}
	many, err := w.many(ctx, client)
	if err != nil {
		return err
	}
	pods := append([]*lab.Pod{other, server}, many...)
	for i := range more {
		p, err := w.crowd(ctx, fmt.Sprintf("crowd-%s-%d", engine, i), b)
		if err != nil {
			return err
		}
		pods = append(pods, p)
	}
	if err := enrolled(ctx, pods...); err != nil {
		return err
	}
	na, nb := w.lab.Node(a), w.lab.Node(b)
	c := chain{name: report.Mesh(engine), what: "two ztunnels (engine " + engine + "), mutual TLS, across nodes", client: client, other: other, many: many,
		server: server, to: server.V4, base: serverBase, path: "tunnel",
		proxies: []string{na.Ztunnel().Cgroup(), nb.Ztunnel().Cgroup()}, agents: []string{agentOf(na), agentOf(nb)}}
	w.chains = append(w.chains, c)
	if w.pods["server"] != nil {
		w.chains = append(w.chains, chain{name: "plain-" + engine, what: "the client's ztunnel alone (engine " + engine + "), to a pod that is not in the mesh",
			client: client, other: other, many: many, server: w.pods["server"], to: w.pods["server"].V4, base: serverBase, path: "plain", layout: true,
			proxies: c.proxies[:1], agents: c.agents[:1]})
	}
	return nil
}

// crowd adds a pod with one server, for crowds.
func (w *world) crowd(ctx context.Context, name, node string) (*lab.Pod, error) {
	p, err := w.pod(ctx, meshNamespace, name, node, false)
	if err != nil {
		return nil, err
	}
	return p, w.serve(p, []string{"once:1"})
}

// single makes a node with two pods and a way between them.
func (w *world) single(ctx context.Context, way string) error {
	if err := w.node(ctx, way, w.has.flags(w.has.best(), way)); err != nil {
		return err
	}
	client, err := w.pod(ctx, meshNamespace, "client-"+way, way, false)
	if err != nil {
		return err
	}
	other, err := w.pod(ctx, meshNamespace, "other-"+way, way, false)
	if err != nil {
		return err
	}
	server, err := w.pod(ctx, meshNamespace, "server-"+way, way, true)
	if err != nil {
		return err
	}
	if err := enrolled(ctx, client, other, server); err != nil {
		return err
	}
	n := w.lab.Node(way)
	path := map[string]string{"mtls": "tunnel", "proxy": "same_node", "direct": direct}[way]
	w.chains = append(w.chains, chain{name: report.Node + "-" + way, what: "both pods on one node, --same-node " + way + " (engine " + w.has.best() + ")",
		client: client, other: other, server: server, to: server.V4, base: serverBase, path: path,
		proxies: []string{n.Ztunnel().Cgroup()}, agents: []string{agentOf(n)}})
	return nil
}

func enrolled(ctx context.Context, pods ...*lab.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, 2*waitUp)
	defer cancel()
	return lab.WaitEnrolled(ctx, pods...)
}
