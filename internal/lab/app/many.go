package app

import (
	"io"
	"sync"
	"time"
)

type group struct {
	mu    sync.Mutex
	conns []*conn
}

func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.conns {
		x.Close()
	}
	g.conns = nil
}

// Many opens N connections at once, pings each, and keeps those that work if Hold.
func (c *Control) Many(a *ManyArgs, out *Group) error {
	g, t := &group{}, newTally()
	var wg sync.WaitGroup
	for range a.N {
		wg.Go(func() { g.one(a, t) })
	}
	wg.Wait()
	out.Report = t.report()
	if !a.Hold {
		g.close()
		return nil
	}
	out.ID = add(c, c.groups, g)
	return nil
}

func (g *group) one(a *ManyArgs, t *tally) {
	begin := time.Now()
	x, banner, err := open(a.Dial, a.Banner)
	if err == nil {
		err = x.call([]byte("many"), a.Dial.Timeout)
	}
	t.add(name(banner), time.Since(begin), err)
	if x == nil {
		return
	}
	if err != nil {
		x.Close()
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, x)
}

// GroupPing pings every connection of a group, all at once.
func (c *Control) GroupPing(r *Ref, out *Report) error {
	g, err := get(c, c.groups, r.ID)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	t := newTally()
	var wg sync.WaitGroup
	for _, x := range g.conns {
		wg.Go(func() {
			begin := time.Now()
			err := x.call([]byte("many"), 0)
			t.add("", time.Since(begin), err)
		})
	}
	wg.Wait()
	*out = t.report()
	return nil
}

// GroupClose closes a group.
func (c *Control) GroupClose(r *Ref, _ *struct{}) error {
	g, err := take(c, c.groups, r.ID)
	if err != nil {
		return err
	}
	g.close()
	return nil
}

// Garbage connects N times, sends Payload, and counts how each attempt ended.
func (c *Control) Garbage(a *GarbageArgs, out *Report) error {
	t, work := newTally(), make(chan struct{})
	workers := a.Workers
	if workers == 0 {
		workers = 8
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range work {
				begin := time.Now()
				err := throw(a)
				t.add("", time.Since(begin), err)
			}
		})
	}
	for range a.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	*out = t.report()
	return nil
}

func throw(a *GarbageArgs) error {
	x, err := dial(a.Dial)
	if err != nil {
		return err
	}
	defer x.Close()
	if err := x.SetDeadline(time.Now().Add(timeout(a.Dial.Timeout))); err != nil {
		return err
	}
	if _, err := x.Write(a.Payload); err != nil {
		return err
	}
	if err := x.CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, x.r)
	return err
}
