package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// errUnseen is why a pod is not captured of which no object is known.
var errUnseen = errors.New("the API server has not told of the pod yet")

// Await returns once the pod of a sandbox needs no capture, or is captured so that nothing passes the
// proxy. When ctx ends before, the error says what the pod waits for.
func (a *Agent) Await(ctx context.Context, sandbox string) error {
	tick := time.NewTicker(settleTime)
	defer tick.Stop()
	for {
		done, why := a.captured(sandbox)
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("pod %s: %w", sandbox, why)
		}
	}
}

func (a *Agent) captured(sandbox string) (done bool, why error) {
	for _, p := range a.all() {
		if p.object().Sandbox == sandbox {
			return p.safe()
		}
	}
	return false, errUnseen
}

// safe says whether the pod may speak. One without an object yet has no identity: what it sends waits.
func (p *pod) safe() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.wish.desired == DesiredNone || p.status.captured || p.obj.Partial && p.status.closed
	return done, errors.New(cmp.Or(p.status.why, "it is being looked at"))
}

// Check says what a pod waits for that may not speak yet, or nil.
func (a *Agent) Check(sandbox string) error {
	if done, why := a.captured(sandbox); !done {
		return why
	}
	return nil
}
