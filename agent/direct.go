package agent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/sockdiag"
	"github.com/ambitmesh/ambit/agent/zds"
	"github.com/ambitmesh/ambit/bpf"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

const (
	// maxCalls is how many different calls of one pod may have a verdict.
	maxCalls = 1024
	// lateTime is for how long connections of a pod that is gone are still counted.
	lateTime = 10 * time.Second
	// forgetTime is for how long it is known who a pod was that is gone, if no proxy asks.
	forgetTime = time.Minute
)

// directs are the connections between pods of this node that go past the proxy. Whatever the agent does
// with a verdict it does under mu, so that none is given to a pod that leaves.
type directs struct {
	a    *Agent
	able bool       // live connections can be ended
	turn sync.Mutex // held while a proxy is offered them

	mu      sync.Mutex
	pods    map[string]*directPod      // by uid: enrolled, not retiring
	left    map[uint64]leaver          // by cookie: no longer among pods
	channel *zds.Channel               // to the proxy in charge; nil: none, and there are no verdicts
	session *zds.Session               // whose channel it is
	picture []tally                    // being read
	before  map[bpf.Account]bpf.Counts // of the last picture
	running []*pb.DirectFlow           // being read
}

type directPod struct {
	uid    string
	cookie uint64
	addrs  netns.Addrs
	diag   *sockdiag.Conn
	calls  map[netip.AddrPort]bool // that have a verdict
}

// leaver is a pod that may go direct no more.
type leaver struct {
	uid string
	at  time.Time
}

// newDirects takes every verdict back that an agent before us gave: nobody watched over them meanwhile.
func newDirects(a *Agent) (*directs, error) {
	d := &directs{a: a, pods: map[string]*directPod{}, left: map[uint64]leaver{}}
	for _, f := range a.features {
		d.able = d.able || f.Name == "INET_DIAG_DESTROY" && f.OK
	}
	return d, a.mesh.CloseDirect()
}

// enter lets an enrolled pod take part. Called with p.work held, as leave is.
func (d *directs) enter(p *pod) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pods[p.uid] != nil || !d.able {
		return nil
	}
	if err := d.a.mesh.MakeBudget(p.ns.Cookie, uint64(d.a.cfg.LegLimit)); err != nil {
		return err
	}
	diag, err := sockdiag.Open(p.ns)
	if err != nil {
		return err
	}
	d.pods[p.uid] = &directPod{uid: p.uid, cookie: p.ns.Cookie, addrs: p.addrs, diag: diag, calls: map[netip.AddrPort]bool{}}
	delete(d.left, p.ns.Cookie)
	return nil
}

// leave takes back every verdict on a pod's calls and on calls to it. When it returns no connect goes by one.
// Running connections live on, unless the pod is gone.
func (d *directs) leave(p *pod, gone bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.pods[p.uid]
	if x == nil {
		return nil
	}
	var errs []error
	if d.channel != nil {
		if err := d.a.mesh.DropVerdicts(x.isPartOf); err != nil {
			errs = append(errs, err, d.shut())
		}
	}
	if gone {
		errs = append(errs, d.orphan(x))
	}
	delete(d.pods, p.uid)
	now := d.a.cfg.Now()
	maps.DeleteFunc(d.left, func(_ uint64, l leaver) bool { return now.Sub(l.at) > forgetTime })
	d.left[x.cookie] = leaver{p.uid, now}
	return errors.Join(append(errs, x.diag.Close())...)
}

func (p *directPod) isPartOf(c bpf.Call, ways []bpf.Way) bool {
	return c.Netns == p.cookie || slices.ContainsFunc(ways, func(w bpf.Way) bool { return w.Netns == p.cookie })
}

// offer puts a proxy that has become the active one in charge. Others lose their verdicts.
func (d *directs) offer(ctx context.Context, s *zds.Session) error {
	if d.able {
		d.awaitHeirs(ctx, s)
	}
	d.turn.Lock()
	defer d.turn.Unlock()
	if d.a.proxies.active() != s {
		return nil // a newer one was faster
	}
	d.mu.Lock()
	err := d.shut()
	d.mu.Unlock()
	if err != nil || !d.able {
		return err
	}
	c, err := s.OpenDirect(ctx, d.a.mesh.Gate())
	if errors.Is(err, zds.ErrRefused) {
		return nil // everything goes through it
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.channel, d.session = c, s
	d.mu.Unlock()
	d.a.log.Info("direct connections are on", "pid", s.Peer.PID)
	d.a.workers.Go(func() { d.serve(ctx, c, s) })
	return nil
}

// serve answers a proxy until its channel ends. One that lives on, and has given the channel up, is offered
// another.
func (d *directs) serve(ctx context.Context, c *zds.Channel, s *zds.Session) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	err := c.Serve(func(r *request) *response { return d.answer(c, r) })
	d.a.log.Info("direct connections are off", "pid", s.Peer.PID, "because", err)
	d.lost(c)
	select {
	case <-time.After(guardEvery):
		if err := d.offer(ctx, s); err != nil {
			d.a.log.Warn("no direct connections", "pid", s.Peer.PID, "error", err)
		}
	case <-s.Done():
	case <-ctx.Done():
	}
}

// lost takes the verdicts back that came over a channel, if it is still the one.
func (d *directs) lost(c *zds.Channel) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.channel == c {
		d.a.note("close direct connections", d.shut())
	}
}

// end takes the verdicts of a session back, if it is in charge.
func (d *directs) end(s *zds.Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == s {
		d.a.note("close direct connections", d.shut())
	}
}

// shut takes every verdict back. Called with d.mu held. The channel is closed first: then nothing new
// comes, whoever still writes to the gate.
func (d *directs) shut() error {
	if d.channel == nil {
		return nil
	}
	err := d.channel.Close()
	d.channel, d.session, d.picture, d.before, d.running = nil, nil, nil, nil, nil
	for _, p := range d.pods {
		clear(p.calls)
	}
	return errors.Join(ignoreClosed(err), d.a.mesh.CloseDirect())
}
