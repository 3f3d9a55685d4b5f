package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// guest adds a pod with the address and another identity than its predecessor, uses it and deletes it.
func (s *soak) guest(ctx context.Context) error {
	n := s.churn.count
	spec := lab.PodSpec{Namespace: "shop", Name: fmt.Sprintf("guest-%d", n), Node: "node-a", ServiceAccount: fmt.Sprintf("guest-%d", n%16),
		V4: netip.MustParseAddr("10.1.200.1"), V6: netip.MustParseAddr("fd00:1::c801")}
	if n%2 == 1 {
		spec.Node, spec.V4, spec.V6 = "node-b", netip.MustParseAddr("10.2.200.1"), netip.MustParseAddr("fd00:2::c801")
	}
	p, err := s.pod(ctx, spec)
	if err == nil {
		err = lab.WaitEnrolled(ctx, p)
	}
	if err == nil {
		err = reaches(ctx, s.client, p.At(n%4 < 2, portBanner))
	}
	if err == nil {
		err = ask(ctx, p, s.far.At(false, portBanner))
	}
	if p != nil {
		err = errors.Join(err, p.Delete())
	}
	return err
}

const denyNear = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: soak, namespace: shop}
spec:
  action: DENY
  selector: {matchLabels: {place: near}}
  rules:
  - from: [{source: {notNamespaces: [shop]}}]
`

// policy denies what the plain pod asks of near, and allows it again.
func (s *soak) policy(ctx context.Context) error {
	to := s.near.At(false, portBanner)
	if err := s.lab.Apply("policy", denyNear); err != nil {
		return err
	}
	err := lab.Eventually(ctx, func(ctx context.Context) error {
		if ask(ctx, s.plain, to) == nil {
			return errors.New("the policy refuses nothing")
		}
		return nil
	})
	if err == nil {
		s.mu.Lock()
		s.result.Refused++
		s.mu.Unlock()
	}
	return errors.Join(err, s.lab.Remove("policy"), reaches(ctx, s.plain, to))
}

func (s *soak) service(ctx context.Context) error {
	name := fmt.Sprintf("temporary-%d", s.churn.count)
	v, err := s.lab.AddService(webService(name))
	if err != nil {
		return err
	}
	return errors.Join(reaches(ctx, s.client, v.At(s.churn.count%2 == 0, 80)), s.lab.Remove("service-shop-"+name))
}

func (s *soak) label(context.Context) error { return s.far.Label("tint", fmt.Sprint(s.churn.count)) }

// ready takes one of the two endpoints of the service away and gives it back.
func (s *soak) ready(ctx context.Context) error {
	if err := s.near.SetReady(false); err != nil {
		return err
	}
	return errors.Join(pause(ctx, 2*time.Second), s.near.SetReady(true))
}

func (s *soak) join(ctx context.Context) error {
	s.churn.joined = !s.churn.joined
	if err := s.lab.Enrol("side", s.churn.joined); err != nil || !s.churn.joined {
		return err
	}
	return lab.WaitEnrolled(ctx, s.side)
}

const bulkBytes = 8 << 20

// bulk moves and checks bytes both ways, by turns over a tunnel and within a node.
func (s *soak) bulk(ctx context.Context) error {
	to := s.far
	if s.churn.count%2 == 0 {
		to = s.near
	}
	a, err := s.client.App()
	if err != nil {
		return err
	}
	r, err := a.Bulk(ctx, app.BulkArgs{Dial: app.DialArgs{Address: to.At(false, portBulk), Timeout: callLimit}, Send: bulkBytes, Receive: bulkBytes})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Bytes += r.Sent + r.Received
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
