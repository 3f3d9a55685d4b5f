package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/bpf"
)

var zeroAddr netip.Addr

// errWait is a step that cannot be made yet; the rest of its text says what for.
var errWait = errors.New("waiting")

// errUnknown says that the pod works, and that others still call it in plaintext.
var errUnknown = errors.New("the mesh does not know the pod yet")

// enrol captures inbound, has the proxy report the pod, then captures outbound. Every step may be
// repeated, so an enrolled pod passes through here again after each change.
func (p *pod) enrol(ctx context.Context, obj Pod, w wish) time.Duration {
	err := p.enrolSteps(ctx, obj, w)
	switch {
	case errors.Is(err, errUnknown) && p.known:
	case errors.Is(err, errUnknown):
		p.set(ActualEnrolling, err.Error())
		return retrySoon * 2
	case errors.Is(err, errWait):
		p.set(p.place.actual(), err.Error())
		return retrySoon * 5
	case err != nil:
		return p.fail(err)
	}
	p.known, p.hold = true, false
	p.a.note("let a pod go direct", p.a.direct.enter(p))
	p.set(ActualEnrolled, "")
	return watchEvery
}

// actual is how far a pod has come that waits for something.
func (x place) actual() Actual {
	switch {
	case x.attached && x.capture && x.known:
		return ActualEnrolled
	case x.attached:
		return ActualEnrolling
	}
	return ActualWaiting
}

func (p *pod) enrolSteps(ctx context.Context, obj Pod, w wish) error {
	if err := p.enter(obj); err != nil {
		return err
	}
	if err := p.listen(ctx); err != nil {
		return err
	}
	p.capture = p.capture || p.hold // what is called before the proxy can carry it waits there, or is reset
	if err := p.captureInbound(w); err != nil {
		return err
	}
	p.noteRefused(obj)
	active := p.a.proxies.active()
	if active == nil {
		return fmt.Errorf("%w: no node proxy is connected", errWait)
	}
	if obj.Partial {
		return fmt.Errorf("%w: the API server has not told of the pod yet", errWait)
	}
	if p.added != active || !p.retired.IsZero() { // a retired pod is taken back by adding it again
		if err := p.add(ctx, active); err != nil {
			return fmt.Errorf("hand to proxy: %w", err)
		}
	}
	p.retired, p.detached = time.Time{}, time.Time{}
	return p.captureOutbound(ctx)
}

// announcement is what a proxy waits for that can carry the pod's connections already.
const announcement = "announcement"

// captureOutbound waits for a proxy that can carry what is captured: until then the pod's connections go
// plain, as before.
func (p *pod) captureOutbound(ctx context.Context) error {
	waiting := p.a.proxies.query(ctx, p.uid).waiting
	if !p.capture && (waiting == "" || waiting == announcement) {
		p.capture = true
		if err := p.store(); err != nil {
			return err
		}
	}
	switch waiting {
	case "":
		return nil
	case announcement:
		return errUnknown
	}
	return fmt.Errorf("%w: the proxy has no %s for the pod yet", errWait, waiting)
}

// enter opens the namespace. Without a proxy a plain pod is left alone, for captured it would hang; not
// so one that must not speak plainly.
func (p *pod) enter(obj Pod) error {
	switch {
	case p.ns != nil:
		return nil
	case obj.NetNS == "":
		return fmt.Errorf("%w: the network namespace is not known yet", errWait)
	case len(obj.Addresses) == 0:
		return fmt.Errorf("%w: the pod has no address yet", errWait)
	case p.a.proxies.active() == nil && !p.hold:
		return fmt.Errorf("%w: no node proxy is connected", errWait)
	}
	ns, err := netns.Open(obj.NetNS)
	if err != nil {
		return err
	}
	addrs := addressesOf(obj, ns)
	if ns.Cookie == p.down {
		return joinClose(fmt.Errorf("%w: for another sandbox: this one is being taken down", errWait), ns)
	}
	if ns.Cookie == p.a.host.Cookie {
		return joinClose(errors.New("the namespace is the node's own: never captured"), ns)
	}
	if len(addrs.Valid()) == 0 {
		return joinClose(errors.New("no address that can be captured"), ns)
	}
	// An address that is not the pod's own would take another pod's traffic.
	if missing, err := ns.Missing(addrs); err != nil || missing.IsValid() {
		return joinClose(cmp.Or(err, fmt.Errorf("%w: for address %s, which no device of the pod has", errWait, missing)), ns)
	}
	if err := p.a.claim(p, ns.Cookie, addrs); err != nil {
		return joinClose(fmt.Errorf("%w: %w", errWait, err), ns)
	}
	p.ns, p.addrs = ns, addrs
	return nil
}

// listen makes the listeners, unless a proxy may still hold those of the agent before us: then it is
// asked first, for some time.
func (p *pod) listen(ctx context.Context) error {
	if p.listeners != nil {
		return nil
	}
	if p.adopted && p.attached {
		held, err := p.a.mesh.HasListener(p.addrs.Valid()[0], bpf.Inbound)
		if err != nil {
			return err
		}
		active := p.a.proxies.active()
		switch {
		case held && active == nil && p.a.cfg.Now().Sub(p.a.started) < p.a.cfg.ProxyAbsentAfter:
			return fmt.Errorf("%w: for the proxy to return the listeners", errWait)
		case held && active != nil && p.getBack(ctx, active):
			return nil
		}
	}
	set, err := p.ns.Listen(p.addrs.V6.IsValid())
	if err != nil {
		return err
	}
	p.listeners, p.added = set, nil
	p.a.events.add("listeners_made", 1)
	return nil
}

// captureInbound puts everything in place that inbound and the proxy's legs need, steer last.
func (p *pod) captureInbound(w wish) error {
	var err error
	if p.saved, err = p.ns.Before(p.addrs, p.saved); err != nil {
		return err
	}
	if err := p.store(); err != nil {
		return err
	}
	if err := p.ns.Configure(p.addrs); err != nil {
		return err
	}
	for _, addr := range p.addrs.Valid() {
		if err := p.a.mesh.SetExcluded(addr, w.excluded); err != nil {
			return err
		}
		if err := p.a.mesh.PutAddress(addr, p.ns.Cookie); err != nil {
			return err
		}
	}
	for _, l := range p.listeners {
		if addr := p.addressFor(l); addr.IsValid() {
			if err := p.a.mesh.PutListener(addr, l.Kind, l.FD); err != nil {
				return err
			}
		}
	}
	if err := p.a.mesh.Attach(int(p.ns.File().Fd()), p.ns.Cookie); err != nil {
		return err
	}
	p.attached = true
	return nil
}

// addressFor is the address that a listener serves; invalid for the IPv4 listeners of an IPv6-only pod.
func (p *pod) addressFor(l netns.Listener) netip.Addr {
	if l.V6 {
		return p.addrs.V6
	}
	return p.addrs.V4
}

// store writes the pod's entry for the hooks.
func (p *pod) store() error {
	return p.a.mesh.PutPod(p.ns.Cookie, bpf.Pod{
		V4: p.addrs.V4, V6: p.addrs.V6, Mark: netns.Mark, Mask: netns.Mask,
		Capture: p.capture, Inode: p.ns.Inode, Saved: uint32(p.saved),
	})
}
