package agent

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/zds"
)

const (
	retrySoon  = 100 * time.Millisecond
	retryLater = 2 * time.Second
	watchEvery = 10 * time.Second // how often an enrolled pod's namespace file is looked at
)

// pod is one pod of this node with its worker: a goroutine that moves it between plain and enrolled.
type pod struct {
	a    *Agent
	uid  string
	wake chan struct{}
	seen chan struct{} // closed after the first step: what an agent before us left is known

	mu     sync.Mutex // guards the next four
	obj    Pod
	wish   wish
	ended  bool // deleted or finished: release at once
	status state

	work sync.Mutex // held by whoever changes the pod: its worker, or a session's first round
	down uint64     // cookie of the namespace that is being taken down: it is left alone
	hold bool       // nothing may leave or reach the pod past the proxy, not even before it is enrolled
	place
}

// state is what Status shows.
type state struct {
	actual Actual
	why    string
	since  time.Time
	notes  []string // beside the wish's

	captured, closed bool // as PodStatus.Captured; captured, whether a proxy has it or not
}

// place is what the agent holds in a pod. Guarded by pod.work.
type place struct {
	ns        *netns.NS // nil: nothing of ours is there
	addrs     netns.Addrs
	saved     netns.Sysctls
	listeners []netns.Listener
	adopted   bool         // an agent before us enrolled the pod, and its listeners may live in a proxy
	attached  bool         // inbound is captured
	capture   bool         // outbound is captured
	known     bool         // the mesh has once known that the pod is captured
	added     *zds.Session // that has acknowledged the pod
	retired   time.Time    // when outbound was switched off; zero: it was not
	detached  time.Time
	heard     time.Time // last answer of a proxy while retiring
}

func newPod(a *Agent, obj Pod, w wish) *pod {
	p := &pod{a: a, uid: obj.UID, wake: make(chan struct{}, 1), seen: make(chan struct{}), obj: obj, wish: w}
	p.status = state{actual: ActualPlain, since: a.cfg.Now()}
	return p
}

// want says what the world wants now. A pod that has ended does not come back: a uid is used once.
func (p *pod) want(obj Pod, w wish, ended bool) {
	p.mu.Lock()
	p.obj, p.wish, p.ended = obj, w, p.ended || ended
	p.mu.Unlock()
	p.poke()
}

func (p *pod) wanted() (Pod, wish, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.obj, p.wish, p.ended
}

func (p *pod) object() Pod {
	obj, _, _ := p.wanted()
	return obj
}

func (p *pod) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pod) set(actual Actual, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.actual != actual {
		p.status.since = p.a.cfg.Now()
		p.a.log.Info("pod", "namespace", p.obj.Namespace, "name", p.obj.Name, "uid", p.uid, "actual", actual, "was", p.status.actual, "why", why)
		p.a.events.add("pod_"+string(actual), 1)
	}
	captured := p.capture && p.added != nil
	changed := p.status.actual != actual || p.status.why != why || p.status.captured != captured
	p.status.actual, p.status.why = actual, why
	p.status.captured, p.status.closed = captured, p.capture && p.attached
	if changed && p.a.cfg.Changed != nil {
		p.a.cfg.Changed()
	}
}

// run is the worker. When ctx ends it leaves the pod as it is.
func (p *pod) run(ctx context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		next, done := p.step(ctx)
		if first {
			close(p.seen)
		}
		if done {
			p.a.forget(ctx, p)
			return
		}
		timer := time.NewTimer(next)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// step brings the pod nearer to what is wanted and says when to look again.
func (p *pod) step(ctx context.Context) (next time.Duration, done bool) {
	p.work.Lock()
	defer p.work.Unlock()
	obj, w, ended := p.wanted()
	if ended {
		if err := p.release(ctx); err != nil {
			p.fail(err)
		}
		return 0, true
	}
	if err := p.look(ctx, obj); err != nil {
		return p.fail(err), false
	}
	if w.desired == DesiredAmbient {
		return p.enrol(ctx, obj, w), false
	}
	return p.unenrol(ctx, w), false
}

func (p *pod) fail(err error) time.Duration {
	p.mu.Lock()
	again := p.status.actual == ActualFailed && p.status.why == err.Error()
	p.mu.Unlock()
	if !again {
		p.a.log.Warn("pod step failed", "uid", p.uid, "error", err)
	}
	p.set(ActualFailed, err.Error())
	p.a.events.add("pod_errors", 1)
	return retryLater
}

// look notices that the namespace behind the path is another one, or that the addresses changed: that
// is another pod, whatever its uid. It also finds out whether an agent before us enrolled it.
func (p *pod) look(ctx context.Context, obj Pod) error {
	if p.ns != nil {
		ino, err := netns.InodeAt(obj.NetNS)
		gone := err == nil && ino != p.ns.Inode // an unreadable path says nothing: the pod's end is the world's to tell
		if !gone && (len(obj.Addresses) == 0 || p.addrs == addressesOf(obj, p.ns)) {
			return nil
		}
		p.hold = p.a.cfg.HoldNew
		return p.release(ctx)
	}
	if obj.NetNS == "" || obj.HostNetwork {
		return nil
	}
	return p.adopt(obj)
}

// pokeIfMoved wakes the worker if another namespace is behind the path: a new sandbox, uncaptured.
func (p *pod) pokeIfMoved() {
	if !p.work.TryLock() {
		return // the worker is awake
	}
	ns := p.ns
	p.work.Unlock()
	if ns == nil {
		return
	}
	if ino, err := netns.InodeAt(p.object().NetNS); err == nil && ino != ns.Inode {
		p.poke()
	}
}

// adopt takes over what an agent before us left in the pod, if anything.
func (p *pod) adopt(obj Pod) error {
	ns, err := netns.Open(obj.NetNS)
	if err != nil {
		if _, w, _ := p.wanted(); w.desired == DesiredNone {
			return nil // nothing to enrol, nothing to say
		}
		return err
	}
	old, ok, err := p.a.mesh.Pod(ns.Cookie)
	if err != nil || !ok {
		return joinClose(err, ns)
	}
	at, err := p.a.mesh.Attached()
	if err != nil {
		return joinClose(err, ns)
	}
	addrs := netns.Addrs{V4: old.V4, V6: old.V6}
	if err := p.a.claim(p, ns.Cookie, addrs); err != nil {
		return joinClose(err, ns)
	}
	p.ns, p.addrs = ns, addrs
	p.saved, p.capture = netns.Sysctls(old.Saved), old.Capture
	p.attached, p.adopted, p.known = slices.Contains(at, ns.Cookie), true, old.Capture
	p.a.events.add("pods_adopted", 1)
	return nil
}

func joinClose(err error, ns *netns.NS) error {
	if cerr := ns.Close(); err == nil {
		err = cerr
	}
	return err
}

// addressesOf is the first address of each family; IPv6 only if the namespace's lo speaks it.
func addressesOf(obj Pod, ns *netns.NS) netns.Addrs {
	var a netns.Addrs
	for _, x := range obj.Addresses {
		x = x.Unmap()
		switch {
		case x.Is4() && !a.V4.IsValid():
			a.V4 = x
		case x.Is6() && !a.V6.IsValid():
			a.V6 = x.WithZone("")
		}
	}
	if a.V6.IsValid() && !ns.HasV6() {
		a.V6 = zeroAddr
	}
	return a
}

// noteRefused says which of the pod's addresses have no listeners: steer knows no other namespace by them,
// and to let them pass would be a way around policy.
func (p *pod) noteRefused(obj Pod) {
	var notes []string
	for _, a := range obj.Addresses {
		if a = a.Unmap().WithZone(""); a != p.addrs.V4 && a != p.addrs.V6 {
			notes = append(notes, fmt.Sprintf("address %s is not captured: connections to it are refused", a))
		}
	}
	p.setNotes(notes)
}

func (p *pod) setNotes(notes []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.notes = notes
}

// letGo closes this process's descriptors at the agent's end; nothing in the kernel changes.
func (p *pod) letGo() error {
	p.work.Lock()
	defer p.work.Unlock()
	err := netns.CloseAll(p.listeners)
	if p.ns != nil {
		err = joinClose(err, p.ns)
	}
	p.place = place{}
	if err != nil {
		return fmt.Errorf("let go of pod %s: %w", p.uid, err)
	}
	return nil
}
