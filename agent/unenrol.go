package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ambitmesh/ambit/agent/netns"
)

// unenrol takes outbound off first, keeps inbound until the mesh knows that the pod is plain, and keeps
// the way back of running connections until the last has ended.
func (p *pod) unenrol(ctx context.Context, w wish) time.Duration {
	p.hold = false
	if p.ns == nil {
		p.set(ActualPlain, w.why)
		return watchEvery
	}
	var err error
	switch {
	case p.capture || p.retired.IsZero() && p.attached:
		err = p.retire(ctx)
	case p.attached:
		err = p.detachWhenKnown(ctx)
	default:
		err = p.releaseWhenIdle(ctx)
	}
	if err != nil {
		return p.fail(err)
	}
	return retrySoon * 2
}

func (p *pod) retire(ctx context.Context) error {
	p.capture, p.known = false, false
	if err := p.a.direct.leave(p, false); err != nil {
		return err
	}
	if err := p.store(); err != nil {
		return err
	}
	p.retired, p.heard = p.a.cfg.Now(), p.a.cfg.Now()
	p.set(ActualRetiring, "until the mesh knows that the pod is plain")
	p.a.proxies.retire(ctx, p.uid)
	return nil
}

func (p *pod) detachWhenKnown(ctx context.Context) error {
	now, unusedFor := p.a.cfg.Now(), p.a.cfg.UnusedAfter // the latter ends the wait for a controller that does not answer
	s := p.a.proxies.query(ctx, p.uid)
	if s.answered {
		p.heard = now
	}
	known := s.answered && (s.plainKnown || s.idle >= unusedFor && now.Sub(p.retired) >= unusedFor)
	if !known && now.Sub(p.heard) < p.a.cfg.ProxyAbsentAfter {
		return nil
	}
	if err := p.a.mesh.Detach(p.ns.Cookie); err != nil {
		return err
	}
	p.attached, p.detached = false, now
	p.set(ActualDraining, "until the last proxied connection has ended")
	return nil
}

// settle is how long after the last capture a handshake may still be on its way to a listener.
const settle = time.Second

func (p *pod) releaseWhenIdle(ctx context.Context) error {
	if p.detached.IsZero() { // the agent before us detached it
		p.detached = p.a.cfg.Now()
		p.set(ActualDraining, "until the last proxied connection has ended")
	}
	if p.a.cfg.Now().Sub(p.detached) < settle {
		return nil
	}
	s := p.a.proxies.query(ctx, p.uid)
	if s.connections > 0 {
		p.set(ActualDraining, fmt.Sprintf("%d proxied connections live on", s.connections))
		return nil
	}
	if !s.heard && p.a.proxies.absent(p.a.cfg.Now()) < p.a.cfg.ProxyAbsentAfter {
		return nil // it will call again and say
	}
	if err := p.release(ctx); err != nil {
		return err
	}
	_, w, _ := p.wanted()
	p.set(ActualPlain, w.why)
	return nil
}

// release takes everything back at once and closes every descriptor in the pod. It goes on after
// errors: the namespace may be dying.
func (p *pod) release(ctx context.Context) error {
	if p.ns == nil {
		return nil
	}
	mesh, cookie := p.a.mesh, p.ns.Cookie
	errs := []error{p.a.direct.leave(p, p.attached), mesh.Detach(cookie)} // before another pod may have the addresses
	for _, addr := range p.addrs.Valid() {
		owner, ok, err := mesh.Owner(addr)
		if err == nil && (!ok || owner == cookie) { // else the address is another pod's by now
			err = mesh.ForgetAddress(addr)
		}
		errs = append(errs, err)
	}
	errs = append(errs, mesh.DeletePod(cookie), netns.CloseAll(p.listeners), p.ns.Deconfigure(p.saved), p.ns.Close())
	p.place = place{}
	p.setNotes(nil)
	p.a.unclaim(p)
	p.a.proxies.remove(ctx, p.uid)
	p.a.events.add("pods_released", 1)
	return errors.Join(errs...)
}

// queues are the listeners of a pod, for the guard.
func (p *pod) queues() []int {
	var out []int
	for _, l := range p.listeners {
		out = append(out, l.FD)
	}
	return slices.Clip(out)
}
