package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// callLimit is long: a machine that stands still for a while is no failure of the mesh.
const callLimit = 30 * time.Second

// stream is calls of one pod to one address, a connection for each, all the time.
type stream struct {
	name    string
	loop    *lab.Loop
	failed  int // at the last look
	traffic *Traffic
}

func (s *soak) startStreams(ctx context.Context) error {
	for _, x := range []struct {
		name string
		from *lab.Pod
		to   string
	}{
		{"another node, IPv4", s.client, s.far.At(false, portBanner)},
		{"another node, IPv6", s.client, s.far.At(true, portBanner)},
		{"the other way", s.back, s.near.At(false, portBanner)},
		{"the same node", s.client, s.near.At(false, portBanner)},
		{"a service", s.client, s.web.At(false, 80)},
		{"a pod that joins and leaves", s.client, s.side.At(false, portBanner)},
		{"into the mesh", s.plain, s.far.At(false, portBanner)},
		{"out of the mesh", s.back, s.plain.At(false, portBanner)},
	} {
		a, err := x.from.App()
		if err != nil {
			return err
		}
		l, err := a.Loop(ctx, app.LoopArgs{Dial: app.DialArgs{Address: x.to, Timeout: callLimit}, Banner: true,
			Workers: s.o.workers, Interval: time.Duration(s.o.interval) * time.Millisecond})
		if err != nil {
			return fmt.Errorf("call %s: %w", x.name, err)
		}
		s.streams = append(s.streams, &stream{name: x.name, loop: l, traffic: s.result.traffic(x.name)})
	}
	return nil
}

// lookAtStreams tells at once what failed, so that it can be laid beside the logs.
func (s *soak) lookAtStreams(ctx context.Context) error {
	for _, x := range s.streams {
		r, err := x.loop.Report(ctx)
		if err != nil {
			return fmt.Errorf("calls to %s: %w", x.name, err)
		}
		x.take(r)
	}
	return nil
}

func (x *stream) take(r app.Report) {
	if r.Failed > x.failed {
		say("calls to %s failed: %v", x.name, r.Errors)
	}
	x.failed = r.Failed
	x.traffic.last(r)
}

// stopStreams waits for the calls under way, and forgets the streams: the next ones add to their counts.
func (s *soak) stopStreams(ctx context.Context) error {
	var errs []error
	for _, x := range s.streams {
		r, err := x.loop.Stop(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		x.take(r)
		x.traffic.settle()
	}
	s.streams = nil
	return errors.Join(errs...)
}
