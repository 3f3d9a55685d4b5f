package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	settleTime = 20 * time.Second // for what the start leaves behind
	warmLimit  = time.Minute
	quietLimit = 5 * time.Minute // for all to be as it was before
	quietEvery = 5 * time.Second
)

// soak warms up, notes how a quiet mesh is, churns, and waits for it to be quiet again.
func (s *soak) soak(ctx context.Context) error {
	begin := time.Now()
	s.result.begin = begin
	say("warming up")
	if err := s.traffic(ctx, min(warmLimit, s.o.duration/10), false); err != nil {
		return err
	}
	if err := pause(ctx, settleTime); err != nil {
		return err
	}
	before, err := s.sample(ctx)
	if err != nil {
		return err
	}
	s.result.Before = before
	if err := s.profiles(ctx, "before"); err != nil {
		return err
	}
	say("churning for %s", s.o.duration)
	if err := s.traffic(ctx, s.o.duration, true); err != nil {
		return err
	}
	if err := s.lab.Enrol("side", false); err != nil { // as before
		return err
	}
	say("waiting for quiet")
	return errors.Join(s.quiet(ctx), s.profiles(ctx, "after"))
}

// traffic calls for some time, with changes or without, and samples meanwhile.
func (s *soak) traffic(ctx context.Context, d time.Duration, change bool) error {
	if err := s.startStreams(ctx); err != nil {
		return err
	}
	if !change {
		return errors.Join(pause(ctx, d), s.stopStreams(ctx))
	}
	c, cancel := context.WithCancel(ctx)
	sampled := make(chan error, 1)
	go func() { sampled <- s.watch(c) }()
	err := s.change(ctx, time.Now(), d)
	cancel()
	return errors.Join(err, <-sampled, s.stopStreams(ctx))
}

// watch samples until ctx ends.
func (s *soak) watch(ctx context.Context) error {
	tick := time.NewTicker(s.o.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		x, err := s.sample(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil { // a part that is being replaced
			say("no sample: %v", err)
			continue
		}
		s.result.Samples = append(s.result.Samples, x)
		if err := s.lookAtStreams(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
}

// quiet waits until all counts are back where they were. Where they stay higher, the last sample tells.
func (s *soak) quiet(ctx context.Context) error {
	begin := time.Now()
	for {
		if err := pause(ctx, quietEvery); err != nil {
			return err
		}
		x, err := s.sample(ctx)
		if err != nil {
			return err
		}
		s.result.After, s.result.Settled = x, time.Since(begin).Seconds()
		if len(missing(s.result.Before, x)) == 0 && s.result.Settled > settleTime.Seconds() || time.Since(begin) > quietLimit {
			return nil
		}
	}
}

// profiles keeps the proxies' heaps, so that what grew can be found.
func (s *soak) profiles(ctx context.Context, when string) error {
	if err := os.MkdirAll(s.o.out, 0o755); err != nil {
		return fmt.Errorf("make directory for profiles: %w", err)
	}
	for _, node := range []string{"node-a", "node-b"} {
		b, err := s.lab.Node(node).GetZtunnel(ctx, "/debug/pprof/heap?gc=1")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.o.out, "heap-"+node+"-"+when+".pb.gz"), b, 0o600); err != nil {
			return fmt.Errorf("keep profile: %w", err)
		}
	}
	return nil
}
