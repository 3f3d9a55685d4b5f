package agent

import (
	"context"
	"time"

	"github.com/ambitmesh/ambit/agent/zds"
)

const (
	heirsTime  = 30 * time.Second
	heirsEvery = 100 * time.Millisecond
)

// awaitHeirs waits until the pods that an agent before us left with direct connections have entered. A proxy
// that came earlier would not be told of these, and could not end them. Meanwhile new ones go through it. A pod
// that does not enter within heirsTime keeps nobody waiting any longer.
func (d *directs) awaitHeirs(ctx context.Context, s *zds.Session) {
	ctx, cancel := context.WithTimeout(ctx, heirsTime)
	defer cancel()
	for {
		missing, err := d.heirs()
		if err != nil {
			d.a.note("look for direct connections", err)
			return
		}
		if missing == 0 {
			return
		}
		select {
		case <-time.After(heirsEvery):
		case <-s.Done():
			return
		case <-ctx.Done():
			d.a.log.Warn("pods with direct connections have not entered", "pods", missing)
			return
		}
	}
}

// heirs counts the pods that the kernel knows, and has accounts of, and that have not entered here.
func (d *directs) heirs() (int, error) {
	accounts, err := d.a.mesh.Accounts()
	if err != nil || len(accounts) == 0 {
		return 0, err
	}
	captured, err := d.a.mesh.Pods()
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	by, missing := d.byCookie(), map[uint64]bool{}
	for a := range accounts {
		for _, cookie := range []uint64{a.Netns, a.Way.Netns} {
			_, here := captured[cookie]
			_, left := d.left[cookie]
			if here && !left && by[cookie] == nil {
				missing[cookie] = true
			}
		}
	}
	return len(missing), nil
}
