package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

// event is a change that comes again and again, or once at a part of the time.
type event struct {
	name string
	when every
	run  func(context.Context) error
}

// every is the time between two events of a kind; at, if not 0, the part of the whole time at which it
// comes, once.
type every struct {
	wait time.Duration
	at   float64
}

// churn is what the changes have left, between two of them.
type churn struct {
	count  int // of events, to tell names and labels apart
	joined bool
	idle   []held
}

// restarts end before the half: the second half is what growth is judged by.
func (s *soak) events() []event {
	return []event{
		{"pods that came and went", every{wait: 8 * time.Second}, s.guest},
		{"policies that came and went", every{wait: 20 * time.Second}, s.policy},
		{"services that came and went", every{wait: 20 * time.Second}, s.service},
		{"labels of pods changed", every{wait: 15 * time.Second}, s.label},
		{"pods ready and not", every{wait: 25 * time.Second}, s.ready},
		{"pods joined or left the mesh", every{wait: 30 * time.Second}, s.join},
		{"groups of idle connections", every{wait: 45 * time.Second}, s.idleAnew},
		{"transfers", every{wait: 10 * time.Second}, s.bulk},
		{"agents killed", every{at: 0.1}, s.killAgent},
		{"proxies replaced", every{at: 0.2}, s.replaceProxy},
		{"controllers killed", every{at: 0.3}, s.killController},
	}
}

// change runs events, one after the other, until the time is over.
func (s *soak) change(ctx context.Context, begin time.Time, whole time.Duration) error {
	events := s.events()
	next := make([]time.Time, len(events))
	for i, e := range events {
		next[i] = begin.Add(e.when.wait + time.Duration(e.when.at*float64(whole)))
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for time.Since(begin) < whole {
		for i, e := range events {
			if time.Now().Before(next[i]) {
				continue
			}
			next[i] = time.Now().Add(e.when.wait)
			if e.when.wait == 0 {
				next[i] = begin.Add(2 * whole) // never again
			}
			if err := s.one(ctx, e); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return s.idleEnd(ctx)
}

const eventLimit = 2 * time.Minute

// one runs an event. What fails is counted and the soak goes on: more may be learnt.
func (s *soak) one(ctx context.Context, e event) error {
	c, cancel := context.WithTimeout(ctx, eventLimit)
	defer cancel()
	s.churn.count++
	err := e.run(c)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Events[e.name]++
	if err != nil {
		s.fail(fmt.Sprintf("%s: %v", e.name, err))
	}
	return nil
}

// fail keeps what went wrong. The caller holds mu.
func (s *soak) fail(what string) {
	say("FAILED: %s", what)
	if len(s.result.Failures) < 100 {
		s.result.Failures = append(s.result.Failures, time.Now().UTC().Format("15:04:05 ")+what)
	}
}

// reaches waits until a change is known, and then expects that it stays so.
func reaches(ctx context.Context, from *lab.Pod, address string) error {
	if err := lab.Eventually(ctx, func(ctx context.Context) error { return ask(ctx, from, address) }); err != nil {
		return err
	}
	for range 3 {
		if err := ask(ctx, from, address); err != nil {
			return fmt.Errorf("after it had worked: %w", err)
		}
	}
	return nil
}
