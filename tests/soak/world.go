package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// Ports of the servers in every pod.
const (
	portBanner = 8080 + iota
	portBulk
)

// soak is one run.
type soak struct {
	o       options
	lab     *lab.Lab
	streams []*stream
	result  *Result
	churn   churn

	client, near *lab.Pod // enrolled, on node-a; near and far serve web
	far, back    *lab.Pod // enrolled, on node-b
	side         *lab.Pod // on node-b, enrolled now and then
	plain        *lab.Pod // on node-a, never enrolled
	web          *lab.Service

	mu sync.Mutex // guards what the churn and the sampler count in result
}

const buildLimit = 3 * time.Minute

func build(ctx context.Context, o options) (*soak, error) {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	l, err := lab.New(ctx, lab.Options{Bin: o.bin, Engine: o.engine, ZtunnelArgs: []string{"--drain-time", "5s", "--pprof"},
		Progress: func(line string) { say("%s", line) }})
	if err != nil {
		return nil, err
	}
	s := &soak{o: o, lab: l, result: newResult(ctx, o)}
	if err := s.populate(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

func (s *soak) populate(ctx context.Context) error {
	for namespace, mesh := range map[string]bool{"shop": true, "side": false, "plain": false} {
		if err := s.lab.Enrol(namespace, mesh); err != nil {
			return err
		}
	}
	var errs []error
	pod := func(namespace, name, node, label string) *lab.Pod {
		p, err := s.pod(ctx, lab.PodSpec{Namespace: namespace, Name: name, Node: node, ServiceAccount: name, Labels: map[string]string{"app": label}})
		errs = append(errs, err)
		return p
	}
	s.client, s.near = pod("shop", "client", "node-a", "client"), pod("shop", "near", "node-a", "web")
	s.far, s.back = pod("shop", "far", "node-b", "web"), pod("shop", "back", "node-b", "back")
	s.side, s.plain = pod("side", "side", "node-b", "side"), pod("plain", "plain", "node-a", "plain")
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := s.near.Label("place", "near"); err != nil {
		return err
	}
	web, err := s.lab.AddService(webService("web"))
	if err != nil {
		return err
	}
	s.web = web
	if err := lab.WaitEnrolled(ctx, s.client, s.near, s.far, s.back); err != nil {
		return err
	}
	return lab.Eventually(ctx, func(ctx context.Context) error { return ask(ctx, s.client, web.At(false, 80)) })
}

func webService(name string) lab.ServiceSpec {
	return lab.ServiceSpec{Namespace: "shop", Name: name, Selector: map[string]string{"app": "web"},
		Ports: []lab.ServicePort{{Name: "tcp", Port: 80, TargetPort: portBanner}}}
}

// pod adds a pod with its servers.
func (s *soak) pod(ctx context.Context, spec lab.PodSpec) (*lab.Pod, error) {
	p, err := s.lab.AddPod(ctx, spec)
	if err != nil {
		return nil, err
	}
	a, err := p.App()
	if err != nil {
		return p, err
	}
	for port, kind := range map[int]app.Kind{portBanner: app.Banner, portBulk: app.BulkServer} {
		if _, err := a.Listen(ctx, app.ListenArgs{Kind: kind, Port: port, Name: p.FullName()}); err != nil {
			return p, fmt.Errorf("serve in %s: %w", p.FullName(), err)
		}
	}
	return p, nil
}

// ask calls a server that speaks first.
func ask(ctx context.Context, from *lab.Pod, address string) error {
	a, err := from.App()
	if err != nil {
		return err
	}
	_, err = a.Ask(ctx, app.DialArgs{Address: address, Timeout: callLimit})
	return err
}
