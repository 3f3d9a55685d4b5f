package agent

import (
	"context"
	"time"

	"github.com/ambitmesh/ambit/agent/netns"
)

// wish is what a pod is to become. Called with a.mu held.
func (a *Agent) wish(v View, obj Pod) wish {
	if a.leaving {
		return wish{desired: DesiredNone, why: "the mesh leaves this node"}
	}
	return wishOf(v, obj)
}

// Leave un-enrols every pod as if its label had been taken away, and waits until nothing of the mesh is
// in any, or ctx ends. There is no way back.
func (a *Agent) Leave(ctx context.Context) error {
	a.mu.Lock()
	a.leaving = true
	a.applyLocked(ctx, a.view)
	a.mu.Unlock()
	tick := time.NewTicker(retrySoon)
	defer tick.Stop()
	for {
		left := 0
		for _, p := range a.PodStatuses() {
			if p.Actual != ActualPlain {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Release gives a pod up at once if it is in this namespace, whose addresses will be another pod's in a
// moment. Inode 0 is a namespace that is gone already.
func (a *Agent) Release(ctx context.Context, sandbox string, inode uint64) error {
	for _, p := range a.all() {
		if p.object().Sandbox == sandbox {
			return p.leaveNamespace(ctx, inode)
		}
	}
	return nil
}

func (p *pod) leaveNamespace(ctx context.Context, inode uint64) error {
	p.work.Lock()
	defer p.work.Unlock()
	if p.ns == nil || inode != 0 && p.ns.Inode != inode {
		return nil
	}
	if inode == 0 {
		if _, err := netns.InodeAt(p.object().NetNS); err == nil {
			return nil // it lives in another one
		}
	}
	p.hold, p.down = p.a.cfg.HoldNew, p.ns.Cookie // the next sandbox is another pod
	err := p.release(ctx)
	p.set(ActualPlain, "its sandbox has been taken down")
	return err
}

// expect takes back that a pod's namespace is being taken down: it is set up anew.
func (a *Agent) expect(sandbox string) {
	for _, p := range a.all() {
		if p.object().Sandbox == sandbox {
			p.work.Lock()
			p.down = 0
			p.work.Unlock()
		}
	}
}

// SandboxOf finds a pod's sandbox by the pod's name; "" if there is no such pod.
func (a *Agent) SandboxOf(namespace, name string) string {
	for _, p := range a.all() {
		if o := p.object(); o.Namespace == namespace && o.Name == name && !o.Finished {
			return o.Sandbox
		}
	}
	return ""
}
