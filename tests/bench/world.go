package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

const (
	serverBase = 8000 // echo; +1 answers once; +2 sends
	relayBase  = 9000
	roles      = 3

	plainNamespace = "plain"
	meshNamespace  = "bench"
)

// chain is one way from a client to a server.
type chain struct {
	name, what string
	client     *lab.Pod
	to         netip.Addr
	base       int
	proxies    []string // cgroups whose CPU time counts
	relays     bool
	path       string // of the proxies' connections; "" if none may be there
}

func (c chain) at(role int) string {
	return netip.AddrPortFrom(c.to, uint16(c.base+role)).String()
}

// world is a lab with the benchmark's pods.
type world struct {
	lab    *lab.Lab
	exe    string
	pods   map[string]*lab.Pod
	relays []*lab.Process
	chains []chain
}

func (w *world) close() error { return w.lab.Close() }

func build(ctx context.Context, o options) (*world, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	l, err := lab.New(ctx, lab.Options{Bin: o.bin, ZtunnelArgs: []string{"--access-log", "off"}, Progress: func(s string) { say("%s", s) }})
	if err != nil {
		return nil, err
	}
	w := &world{lab: l, exe: exe, pods: map[string]*lab.Pod{}}
	if err := w.fill(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) fill(ctx context.Context) error {
	if err := errors.Join(w.lab.Enrol(plainNamespace, false), w.lab.Enrol(meshNamespace, true)); err != nil {
		return err
	}
	for _, p := range []struct{ name, namespace, node string }{
		{"client", plainNamespace, "node-a"}, {"server", plainNamespace, "node-b"},
		{"relay-a", plainNamespace, "node-a"}, {"relay-b", plainNamespace, "node-b"},
		{"mesh-client", meshNamespace, "node-a"}, {"mesh-server", meshNamespace, "node-b"}, {"mesh-neighbour", meshNamespace, "node-a"},
	} {
		pod, err := w.lab.AddPod(ctx, lab.PodSpec{Namespace: p.namespace, Name: p.name, Node: p.node, ServiceAccount: p.name})
		if err != nil {
			return err
		}
		w.pods[p.name] = pod
	}
	for _, name := range []string{"server", "mesh-server", "mesh-neighbour"} {
		if err := w.serve(ctx, w.pods[name]); err != nil {
			return err
		}
	}
	if err := lab.WaitEnrolled(ctx, w.pods["mesh-client"], w.pods["mesh-server"], w.pods["mesh-neighbour"]); err != nil {
		return err
	}
	if err := errors.Join(w.relay(ctx, "relay-b", "server", serverBase), w.relay(ctx, "relay-a", "relay-b", relayBase)); err != nil {
		return err
	}
	w.link()
	return nil
}

// serve starts the far end in a pod and waits until it listens.
func (w *world) serve(ctx context.Context, p *lab.Pod) error {
	_, err := p.Start(lab.Command{Args: []string{w.exe, "load", "server", p.V4.String(), strconv.Itoa(serverBase)}, Log: "server-" + p.Name})
	if err != nil {
		return err
	}
	return listening(ctx, p, serverBase+roles-1)
}

// relay starts a relay in one pod towards another.
func (w *world) relay(ctx context.Context, in, to string, base int) error {
	args := []string{w.exe, "relay"}
	for r := range roles {
		args = append(args, w.pods[in].At(false, relayBase+r), w.pods[to].At(false, base+r))
	}
	p, err := w.pods[in].Start(lab.Command{Args: args, Log: in})
	if err != nil {
		return err
	}
	w.relays = append(w.relays, p)
	return listening(ctx, w.pods[in], relayBase+roles-1)
}

func listening(ctx context.Context, p *lab.Pod, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return lab.Eventually(ctx, func(ctx context.Context) error {
		c, err := p.Dial(ctx, "tcp", net.JoinHostPort(p.V4.String(), strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("connect to %s: %w", p.FullName(), err)
		}
		return c.Close()
	})
}

// link names the chains.
func (w *world) link() {
	ztunnels := []string{}
	for _, n := range []string{"node-a", "node-b"} {
		ztunnels = append(ztunnels, w.lab.Node(n).Ztunnel().Cgroup())
	}
	plain, mesh := w.pods["client"], w.pods["mesh-client"]
	w.chains = []chain{
		{name: report.Direct, what: "no proxy, across nodes", client: plain, to: w.pods["server"].V4, base: serverBase},
		{name: report.Floor, what: "two plain relays, across nodes", client: plain, to: w.pods["relay-a"].V4, base: relayBase, relays: true,
			proxies: []string{w.pods["relay-a"].Cgroup(), w.pods["relay-b"].Cgroup()}},
		{name: "ambit", what: "two ztunnels, mutual TLS, across nodes", client: mesh, to: w.pods["mesh-server"].V4, base: serverBase,
			proxies: ztunnels, path: "tunnel"},
		{name: "ambit-node", what: "one ztunnel, both pods on one node", client: mesh, to: w.pods["mesh-neighbour"].V4, base: serverBase,
			proxies: ztunnels[:1], path: "same_node"},
	}
}
