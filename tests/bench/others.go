package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/peers"
	"github.com/ambitmesh/ambit/tests/bench/peers/istio"
	"github.com/ambitmesh/ambit/tests/bench/peers/linkerd"
)

// meshes makes a pair of nodes for each mesh of others. What does not start is told of and left out.
func (w *world) meshes(ctx context.Context, tools []peers.Tool) error {
	for _, t := range tools {
		start := w.istio
		if t.Kind == peers.Sidecar {
			start = w.linkerd
		}
		if err := start(ctx, t); err != nil {
			if ctx.Err() != nil {
				return err
			}
			w.broken[t.Name] = err
		}
	}
	return nil
}

// istio makes two nodes with Istio's ztunnel, where ours has its own.
func (w *world) istio(ctx context.Context, t peers.Tool) error {
	a, b := t.Name+"-a", t.Name+"-b"
	client, other, server, err := w.threePods(ctx, t.Name, a, b)
	if err != nil {
		return err
	}
	many, err := w.many(ctx, client)
	if err != nil {
		return err
	}
	c := chain{name: t.Name, what: fmt.Sprintf("two of Istio's ztunnel (version %s), in-pod mode under our controller, mutual TLS, across nodes", t.Version),
		client: client, other: other, many: many, server: server, to: server.V4, base: serverBase, path: "tunnel"}
	for _, x := range []struct {
		node string
		pods []*lab.Pod
	}{{a, append([]*lab.Pod{other}, many...)}, {b, []*lab.Pod{server}}} {
		err := w.places.on(w.places.of(x.node), func() error {
			n, err := istio.Start(ctx, w.lab, w.lab.Node(x.node), t.Path())
			if err != nil {
				return err
			}
			w.others = append(w.others, n)
			c.proxies = append(c.proxies, n.Cgroup())
			if x.node == a {
				c.tunnelled = n.Tunnelled
			}
			return n.Enrol(ctx, x.pods...)
		})
		if err != nil {
			return err
		}
	}
	if err := up(ctx, c); err != nil {
		return err
	}
	w.chains = append(w.chains, c)
	return nil
}

// linkerd makes two pods with a linkerd2-proxy each, as a sidecar would be.
func (w *world) linkerd(ctx context.Context, t peers.Tool) error {
	client, err := w.pod(ctx, plainNamespace, "client-"+t.Name, "plain-a", false)
	if err != nil {
		return err
	}
	server, err := w.pod(ctx, plainNamespace, "server-"+t.Name, "plain-b", true)
	if err != nil {
		return err
	}
	pair, err := linkerd.New()
	if err != nil {
		return err
	}
	w.others = append(w.others, pair)
	c := chain{name: t.Name, what: strings.TrimSpace("two of linkerd2-proxy "+t.Version) + ", opaque TCP, mutual TLS, across nodes",
		client: client, other: client, server: server, to: server.V4, base: serverBase, pair: true, tunnelled: pair.Tunnelled}
	for _, p := range []*lab.Pod{server, client} {
		dir, err := part(p, t.Name)
		if err != nil {
			return err
		}
		err = w.places.on(w.places.of(p.Node.Name), func() error {
			return pair.Start(ctx, linkerd.Half{Pod: p, Client: client, Server: server, Program: t.Path(), Cgroup: dir,
				Ports: fmt.Sprintf("%d-%d", serverBase, serverBase+roleFresh), Dir: filepath.Join(w.lab.Dir(), "peers", p.Name)})
		})
		if err != nil {
			return err
		}
		c.proxies = append(c.proxies, dir)
	}
	slices.Reverse(c.proxies) // the client's is first
	if err := up(ctx, c); err != nil {
		return err
	}
	w.chains = append(w.chains, c)
	return nil
}

// threePods makes two clients on a node and a server on another.
func (w *world) threePods(ctx context.Context, name, a, b string) (client, other, server *lab.Pod, err error) {
	if client, err = w.pod(ctx, meshNamespace, "client-"+name, a, false); err != nil {
		return nil, nil, nil, err
	}
	if other, err = w.pod(ctx, meshNamespace, "other-"+name, a, false); err != nil {
		return nil, nil, nil, err
	}
	server, err = w.pod(ctx, meshNamespace, "server-"+name, b, true)
	return client, other, server, err
}
