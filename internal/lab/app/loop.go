package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const timesKept = 1 << 16 // durations of the latest calls

// tally counts calls of many goroutines.
type tally struct {
	mu    sync.Mutex
	r     Report
	times []time.Duration
	at    int
}

func newTally() *tally {
	return &tally{r: Report{Errors: map[string]int{}, Names: map[string]int{}}}
}

func (t *tally) add(name string, took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.r.Failed++
		t.r.Errors[short(err)]++
		return
	}
	t.r.OK++
	t.r.LastOK = time.Now()
	if name != "" {
		t.r.Names[name]++
	}
	t.r.Max = max(t.r.Max, took)
	if len(t.times) < timesKept {
		t.times = append(t.times, took)
		return
	}
	t.times[t.at] = took
	t.at = (t.at + 1) % timesKept
}

func (t *tally) report() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.r
	r.Errors, r.Names = maps.Clone(r.Errors), maps.Clone(r.Names)
	if n := len(t.times); n > 0 {
		s := slices.Sorted(slices.Values(t.times))
		r.P50, r.P99 = s[n/2], s[n*99/100]
	}
	return r
}

// short leaves addresses and ports out, so that like errors count as one.
func short(err error) string {
	s := err.Error()
	last := strings.LastIndex(s, ": ")
	for _, op := range []string{"dial", "read", "write", "writeto"} {
		if last >= 0 && strings.HasPrefix(s, op+" ") {
			return op + s[last:]
		}
	}
	return s
}

type loop struct {
	cancel context.CancelFunc
	done   chan struct{}
	tally  *tally
}

// LoopStart starts calling.
func (c *Control) LoopStart(a *LoopArgs, out *Ref) error {
	ctx, cancel := context.WithCancel(context.Background())
	l := &loop{cancel: cancel, done: make(chan struct{}), tally: newTally()}
	var wg sync.WaitGroup
	for range max(a.Workers, 1) {
		wg.Go(func() { worker(ctx, *a, l.tally) })
	}
	go func() { wg.Wait(); close(l.done) }()
	out.ID = add(c, c.loops, l)
	return nil
}

// LoopReport counts so far.
func (c *Control) LoopReport(r *Ref, out *Report) error {
	l, err := get(c, c.loops, r.ID)
	if err != nil {
		return err
	}
	*out = l.tally.report()
	select {
	case <-l.done:
	default:
		out.Running = true
	}
	return nil
}

// LoopStop ends a loop after the calls under way.
func (c *Control) LoopStop(r *Ref, out *Report) error {
	l, err := take(c, c.loops, r.ID)
	if err != nil {
		return err
	}
	l.cancel()
	<-l.done
	*out = l.tally.report()
	return nil
}

func worker(ctx context.Context, a LoopArgs, t *tally) {
	data := []byte(strings.Repeat("p", max(a.Size, 32)))
	var held *conn
	defer func() {
		if held != nil {
			held.Close()
		}
	}()
	for i := 0; ctx.Err() == nil && (a.Count == 0 || i < a.Count); i++ {
		begin := time.Now()
		x, banner, err := held, "", error(nil)
		if x == nil {
			x, banner, err = open(a.Dial, a.Banner)
		}
		if err == nil {
			err = x.call(data, a.Dial.Timeout)
		}
		t.add(name(banner), time.Since(begin), err)
		held = keep(x, a.Held && err == nil)
		if a.Held && err != nil && !a.Redial {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(a.Interval):
		}
	}
}

func keep(x *conn, yes bool) *conn {
	if yes || x == nil {
		return x
	}
	x.Close()
	return nil
}

func open(a DialArgs, banner bool) (*conn, string, error) {
	x, err := dial(a)
	if err != nil || !banner {
		return x, "", err
	}
	if err := x.SetDeadline(time.Now().Add(timeout(a.Timeout))); err != nil {
		return x, "", err
	}
	s, err := x.r.ReadString('\n')
	if err != nil {
		return x, "", fmt.Errorf("no banner: %s", short(err))
	}
	return x, s, nil
}

func (x *conn) call(data []byte, limit time.Duration) error {
	if err := x.SetDeadline(time.Now().Add(timeout(limit))); err != nil {
		return err
	}
	return x.ping(data)
}
