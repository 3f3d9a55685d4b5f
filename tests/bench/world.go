package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/peers"
)

const (
	plainNamespace = "plain"
	meshNamespace  = "bench"
)

// What a server offers, by port offset.
const (
	roleEcho = iota
	roleOnce
	roleSource
	roleSink
	roleNoise // a source in a process of its own, for a second client
	roleFresh // once, by TLS sessions that are never resumed: only pairs have it
)

const serverBase = 8000

// plan says what a world has.
type plan struct {
	engines  []string // pairs of nodes with that engine
	sameNode []string // single nodes with that way between pods
	relays   bool
	tools    []peers.Tool
	pods     int // servers more on the far node of each engine
	clients  int // on the near node of each chain of Istio's layout; 0: one
}

// others are the meshes of others.
func (p plan) others() []peers.Tool {
	return slices.DeleteFunc(slices.Clone(p.tools), func(t peers.Tool) bool { return t.Kind == peers.Pair })
}

// nodeProxies are those of them that need our controller and nodes of their own.
func (p plan) nodeProxies() []peers.Tool {
	return slices.DeleteFunc(p.others(), func(t peers.Tool) bool { return t.Kind != peers.NodeProxy })
}

// world is a lab with the benchmark's pods.
type world struct {
	lab    *lab.Lab
	exe    string
	places places
	has    features
	pods   map[string]*lab.Pod

	clients int // see plan
	chains  []chain
	broken  map[string]error // other proxies that did not start
	others  []io.Closer      // of other meshes
}

func (w *world) close() error {
	var errs []error
	for _, o := range w.others {
		errs = append(errs, o.Close())
	}
	return errors.Join(append(errs, w.lab.Close())...)
}

func build(ctx context.Context, o options, f features, p plan) (*world, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	at, err := newPlaces(o.pin)
	if err != nil {
		return nil, err
	}
	nodes := []string{"plain-a", "plain-b"}
	for _, e := range p.engines {
		nodes = append(nodes, e+"-a", e+"-b")
	}
	nodes = append(nodes, p.sameNode...)
	for _, t := range p.nodeProxies() {
		nodes = append(nodes, t.Name+"-a", t.Name+"-b")
	}
	l, err := lab.New(ctx, lab.Options{Bin: o.bin, Nodes: nodes, Manual: true})
	if err != nil {
		return nil, err
	}
	w := &world{lab: l, exe: exe, places: at, has: f, pods: map[string]*lab.Pod{}, broken: map[string]error{}, clients: p.clients}
	if err := w.fill(ctx, p); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) fill(ctx context.Context, p plan) error {
	if err := w.plain(ctx, p); err != nil {
		return err
	}
	if len(p.engines)+len(p.sameNode)+len(p.nodeProxies()) == 0 {
		return w.meshes(ctx, p.others())
	}
	if err := w.rules(); err != nil {
		return err
	}
	if err := w.lab.StartController(ctx); err != nil {
		return err
	}
	for _, e := range p.engines {
		if err := w.pair(ctx, e, p.pods); err != nil {
			return err
		}
	}
	for _, s := range p.sameNode {
		if err := w.single(ctx, s); err != nil {
			return err
		}
	}
	return w.meshes(ctx, p.others())
}

// rules enrol a namespace, demand mutual TLS in it and allow what its pods ask: policy is on.
func (w *world) rules() error {
	err := errors.Join(w.lab.Enrol(plainNamespace, false), w.lab.Enrol(meshNamespace, true))
	return errors.Join(err, w.lab.Apply("rules", `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: `+meshNamespace+`}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: own, namespace: `+meshNamespace+`}
spec:
  action: ALLOW
  rules:
  - from: [{source: {namespaces: [`+meshNamespace+`]}}]
`))
}

// pod makes a pod on a node; a server also serves.
func (w *world) pod(ctx context.Context, namespace, name, node string, server bool) (*lab.Pod, error) {
	p, err := w.lab.AddPod(ctx, lab.PodSpec{Namespace: namespace, Name: name, Node: node, ServiceAccount: strings.TrimRight(name, "-0123456789")})
	if err != nil {
		return nil, err
	}
	w.pods[name] = p
	if !server {
		return p, nil
	}
	for _, args := range [][]string{{"echo:0", "once:1", "source:2", "sink:3"}, {"source:4"}} {
		if err := w.serve(p, args); err != nil {
			return nil, err
		}
	}
	return p, listening(ctx, p, serverBase+roleSink, serverBase+roleNoise)
}

// serve starts far ends, "role:offset", in a pod.
func (w *world) serve(p *lab.Pod, ends []string) error {
	args := []string{w.exe, "load", "server", p.V4.String()}
	for _, e := range ends {
		role, off, _ := strings.Cut(e, ":")
		n, err := strconv.Atoi(off)
		if err != nil {
			return fmt.Errorf("serve %q: %w", e, err)
		}
		args = append(args, fmt.Sprintf("%s:%d", role, serverBase+n))
	}
	return w.places.on(w.places.of(p.Node.Name), func() error {
		_, err := p.Start(lab.Command{Args: args, Log: "server-" + p.Name})
		return err
	})
}

func listening(ctx context.Context, p *lab.Pod, ports ...int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, port := range ports {
		err := lab.Eventually(ctx, func(ctx context.Context) error {
			c, err := p.Dial(ctx, "tcp", net.JoinHostPort(p.V4.String(), strconv.Itoa(port)))
			if err != nil {
				return fmt.Errorf("connect to %s: %w", p.FullName(), err)
			}
			return c.Close()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// part is a cgroup below a pod's for one of the programs in it.
func part(p *lab.Pod, name string) (string, error) {
	dir := filepath.Join(p.Cgroup(), name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cgroup: %w", err)
	}
	return dir, nil
}
