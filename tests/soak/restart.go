package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/ambitmesh/ambit/internal/lab"
)

func (s *soak) killAgent(ctx context.Context) error {
	n := s.lab.Node("node-a")
	return errors.Join(n.Agent().Kill(), n.StartAgent(ctx), lab.WaitEnrolled(ctx, s.client, s.near))
}

// replaceProxy starts a second proxy, then ends the first: a rolling upgrade.
func (s *soak) replaceProxy(ctx context.Context) error {
	if err := s.idleEnd(ctx); err != nil { // a drain ends what is open
		return err
	}
	n := s.lab.Node("node-b")
	old := n.Ztunnel()
	if _, err := n.StartZtunnel(ctx); err != nil {
		return err
	}
	if err := lab.Eventually(ctx, func(ctx context.Context) error { return active(ctx, n) }); err != nil {
		return err
	}
	return errors.Join(old.Signal(syscall.SIGTERM), old.Wait(ctx), old.Remove())
}

// active is nil once the newest proxy carries the traffic.
func active(ctx context.Context, n *lab.Node) error {
	st, err := n.AgentStatus(ctx)
	if err != nil {
		return err
	}
	for _, p := range st.Proxies {
		if p.PID == n.Ztunnel().PID() && p.Active {
			return nil
		}
	}
	return errors.New("the new proxy is not the active one")
}

func (s *soak) killController(ctx context.Context) error {
	return errors.Join(s.lab.Controller().Kill(), s.lab.StartController(ctx))
}
