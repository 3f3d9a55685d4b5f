package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/peers"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// chain is one way from a client to a server.
type chain struct {
	name, what string
	client     *lab.Pod
	other      *lab.Pod   // a second client on the client's node
	many       []*lab.Pod // clients on that node, the first of which is client
	loading    int        // how many of them load comes from; 0: client alone
	server     *lab.Pod
	to         netip.Addr
	base       int
	proxies    []string // cgroups of what carries the bytes, the client's first
	agents     []string // cgroups whose CPU time counts too, the client's first
	pair       bool     // proxies hold a socket to each side
	path       string   // of ztunnel's connections; "" if none may be there
	layout     bool     // only for the layout of Istio's ztunnel

	tunnelled func(context.Context) (int, error) // connections that another mesh's proxy has carried; nil: ours or none
}

func (c chain) at(role int) string {
	return netip.AddrPortFrom(c.to, uint16(c.base+role)).String()
}

// everything is the cgroups of clients, servers and what stands between them.
func (c chain) everything() []string {
	out := append(cgroupsOf(c.clients()), c.server.Cgroup())
	if c.pair {
		return out // the proxies are in the pods
	}
	return append(append(out, c.proxies...), c.agents...)
}

// plain makes the pods without a mesh, and what relays between them. Relays stand in the pods' own
// namespaces, where a sidecar would stand and where ztunnel's sockets are: no way is longer than another.
func (w *world) plain(ctx context.Context, p plan) error {
	client, err := w.pod(ctx, plainNamespace, "client", "plain-a", false)
	if err != nil {
		return err
	}
	server, err := w.pod(ctx, plainNamespace, "server", "plain-b", true)
	if err != nil {
		return err
	}
	near, err := w.pod(ctx, plainNamespace, "near", "plain-a", true)
	if err != nil {
		return err
	}
	many, err := w.many(ctx, client)
	if err != nil {
		return err
	}
	w.chains = append(w.chains,
		chain{name: report.Direct, what: "no proxy, across nodes", client: client, other: client, many: many, server: server, to: server.V4, base: serverBase},
		chain{name: report.Node, what: "no proxy, both pods on one node", client: client, other: client, server: near, to: near.V4, base: serverBase})
	base := 9000
	if p.relays {
		if err := w.relays(ctx, client, server, base); err != nil {
			return err
		}
	}
	for _, t := range p.tools {
		if t.Kind != peers.Pair {
			continue
		}
		base += 10
		if err := w.tool(ctx, t, client, server, base); err != nil {
			if ctx.Err() != nil {
				return err
			}
			w.broken[t.Name] = err
		}
	}
	return nil
}

var loopback = netip.MustParseAddr("127.0.0.1")

func forwards(server *lab.Pod, base int) []peers.Forward {
	var out []peers.Forward
	for r := range roleFresh + 1 {
		to := r
		if r == roleFresh {
			to = roleOnce
		}
		at := func(a netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) }
		out = append(out, peers.Forward{Near: at(loopback, base+r), Far: at(server.V4, base+r), To: at(server.V4, serverBase+to), Fresh: r == roleFresh})
	}
	return out
}

func (w *world) relays(ctx context.Context, client, server *lab.Pod, base int) error {
	near, far := []string{w.exe, "relay"}, []string{w.exe, "relay"}
	for _, f := range forwards(server, base) {
		near = append(near, f.Near.String(), f.Far.String())
		far = append(far, f.Far.String(), f.To.String())
	}
	return w.halves(ctx, chain{name: report.Floor, what: "two plain relays, across nodes", client: client, base: base},
		server, peers.Half{Args: near}, peers.Half{Args: far})
}

func (w *world) tool(ctx context.Context, t peers.Tool, client, server *lab.Pod, base int) error {
	near, far, err := t.Pair(filepath.Join(w.lab.Dir(), "peers", t.Name), forwards(server, base))
	if err != nil {
		return err
	}
	what := fmt.Sprintf("two of %s %s, mutual TLS, across nodes", t.Name, t.Version)
	return w.halves(ctx, chain{name: t.Name, what: what, client: client, base: base}, server, near, far)
}

// halves starts the two halves of a chain beside client and server.
func (w *world) halves(ctx context.Context, c chain, server *lab.Pod, near, far peers.Half) error {
	for _, x := range []struct {
		pod  *lab.Pod
		half peers.Half
	}{{server, far}, {c.client, near}} {
		dir, err := part(x.pod, c.name)
		if err != nil {
			return err
		}
		err = w.places.on(w.places.of(x.pod.Node.Name), func() error {
			_, err := x.pod.Start(lab.Command{Args: x.half.Args, Env: x.half.Env, Cgroup: dir, Log: c.name + "-" + x.pod.Name})
			return err
		})
		if err != nil {
			return err
		}
		c.proxies = append(c.proxies, dir)
	}
	slices.Reverse(c.proxies) // the far half had to be there first
	c.other, c.server, c.to, c.pair = c.client, server, loopback, true
	if err := up(ctx, c); err != nil {
		said, readErr := os.ReadFile(w.lab.LogFile(c.name + "-" + c.client.Name))
		return errors.Join(fmt.Errorf("%w: %s", err, said), readErr)
	}
	w.chains = append(w.chains, c)
	return nil
}

// up waits until the chain answers.
func up(ctx context.Context, c chain) error {
	ctx, cancel := context.WithTimeout(ctx, waitUp)
	defer cancel()
	return lab.Eventually(ctx, func(ctx context.Context) error {
		conn, err := c.client.Dial(ctx, "tcp", c.at(roleEcho))
		if err != nil {
			return fmt.Errorf("chain %s: %w", c.name, err)
		}
		return conn.Close()
	})
}
