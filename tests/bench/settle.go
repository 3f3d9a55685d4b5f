package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ambitmesh/ambit/tests/bench/load"
)

const (
	soon      = 2 * time.Second  // after a start or a burst
	look      = time.Second      // between two looks at memory that may still be given back
	steady    = 12 * time.Second // without a fall: settled
	fall      = 0.01             // less is no fall
	mostLooks = 90
)

// taken is resident memory of several processes, in bytes.
type taken struct {
	all float64 // with their programs' files
	own float64 // what they have written
}

// settled returns what the processes of cgroups take 2 s from now, and what is left of that once it has not
// fallen for a while: proxies give back what a start or a crowd of connections took some time later, in steps.
func settled(ctx context.Context, cgroups []string) (first, last taken, err error) {
	if first, err = after(ctx, soon, cgroups); err != nil {
		return first, last, err
	}
	last = first
	least := first.all
	for looks, since := 0, time.Now(); looks < mostLooks && time.Since(since) < steady; looks++ {
		if last, err = after(ctx, look, cgroups); err != nil {
			return first, last, err
		}
		if last.all < least*(1-fall) {
			least, since = last.all, time.Now()
		}
	}
	return first, last, nil
}

// after waits a moment and sums what the processes of cgroups take.
func after(ctx context.Context, d time.Duration, cgroups []string) (sum taken, err error) {
	select {
	case <-ctx.Done():
		return sum, fmt.Errorf("wait for quiet: %w", ctx.Err())
	case <-time.After(d):
	}
	for _, dir := range cgroups {
		pids, err := pidsIn(dir)
		if err != nil {
			return sum, err
		}
		if len(pids) == 0 {
			return sum, fmt.Errorf("no process in %s", dir)
		}
		for _, pid := range pids {
			if err := sum.add(pid); err != nil {
				return sum, err
			}
		}
	}
	return sum, nil
}

func (t *taken) add(pid int) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return fmt.Errorf("read memory: %w", err)
	}
	all, ok := load.Field(string(b), "VmRSS:")
	own, has := load.Field(string(b), "RssAnon:")
	if !ok || !has {
		return fmt.Errorf("process %d has no resident memory", pid)
	}
	t.all += all * 1024
	t.own += own * 1024
	return nil
}

// resting is what the processes of cgroups take once that has settled, in bytes.
func resting(ctx context.Context, cgroups []string) (float64, error) {
	_, last, err := settled(ctx, cgroups)
	return last.all, err
}
