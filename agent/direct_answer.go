package agent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ambitmesh/ambit/agent/zds"
	"github.com/ambitmesh/ambit/bpf"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

type (
	request  = pb.DirectRequest
	response = pb.DirectResponse
)

// answer does what the proxy in charge asks.
func (d *directs) answer(c *zds.Channel, r *request) *response {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.channel != c {
		return &response{Error: "another proxy is in charge"}
	}
	out, err := &response{}, error(nil)
	switch p := r.GetPayload().(type) {
	case *pb.DirectRequest_Allow:
		err = d.allow(p.Allow)
	case *pb.DirectRequest_Withdraw:
		err = d.withdraw(p.Withdraw.GetCalls())
	case *pb.DirectRequest_End:
		err = errors.Join(d.withdraw(p.End.GetCalls()), d.cut(p.End.GetCalls()))
	case *pb.DirectRequest_Read:
		out, err = d.read(p.Read)
	case *pb.DirectRequest_Ended:
		out, err = d.ended()
	case *pb.DirectRequest_Live:
		out, err = d.live(p.Live.GetFrom())
	}
	if err != nil {
		d.a.note("direct connections", err)
		return &response{Error: clip(err.Error())}
	}
	return out
}

func (d *directs) allow(m *pb.AllowDirect) error {
	var errs []error
	for _, c := range m.GetCalls() {
		src := d.pods[c.GetSource()]
		ways := d.ways(src, c.GetPlaces())
		if len(ways) == 0 {
			continue // somebody has left meanwhile
		}
		to := zds.CallTo(c)
		if !src.calls[to] && len(src.calls) >= maxCalls {
			d.a.events.add("direct_calls_over_limit", 1)
			continue
		}
		src.calls[to] = true
		errs = append(errs, d.a.mesh.PutVerdict(bpf.Call{Netns: src.cookie, To: to}, m.GetGeneration(), ways))
	}
	return errors.Join(errs...)
}

// ways are the places of a call, or nil if one is not there, or is the caller itself.
func (d *directs) ways(src *directPod, places []*pb.DirectPlace) []bpf.Way {
	if src == nil {
		return nil
	}
	var out []bpf.Way
	for _, p := range places {
		dst, to := d.pods[p.GetUid()], zds.PlaceAt(p)
		if dst == nil || dst == src || !slices.Contains(dst.addrs.Valid(), to.Addr()) || to.Port() == hbonePort {
			return nil
		}
		out = append(out, bpf.Way{Netns: dst.cookie, To: to})
	}
	return out
}

func (d *directs) withdraw(calls []*pb.DirectCall) error {
	var errs []error
	for _, c := range calls {
		if src := d.pods[c.GetSource()]; src != nil {
			delete(src.calls, zds.CallTo(c))
			errs = append(errs, d.a.mesh.DropVerdict(bpf.Call{Netns: src.cookie, To: zds.CallTo(c)}))
		}
	}
	return errors.Join(errs...)
}

// cut ends running connections. The destination's side first: its reset is what the caller sees then, as it
// would through the proxy. No verdict stands on these calls any more.
func (d *directs) cut(calls []*pb.DirectCall) error {
	which := map[bpf.Account]bool{}
	var errs []error
	for _, c := range calls {
		if err := d.acquainted(c); err != nil {
			errs = append(errs, err)
			continue
		}
		src := d.pods[c.GetSource()]
		if src == nil {
			continue
		}
		for _, w := range d.ways(src, c.GetPlaces()) {
			which[bpf.Account{Call: bpf.Call{Netns: src.cookie, To: zds.CallTo(c)}, Way: w}] = true
		}
	}
	flows, err := d.a.mesh.DirectFlows()
	errs = append(errs, err)
	by := d.byCookie()
	for _, f := range flows {
		if which[f.Account] {
			errs = append(errs, d.destroy(by, &f))
		}
	}
	return errors.Join(errs...)
}

// acquainted is an error if a pod of a call has neither entered nor left: what runs between them is not ended
// then, and has to be asked for again.
func (d *directs) acquainted(c *pb.DirectCall) error {
	uids := []string{c.GetSource()}
	for _, p := range c.GetPlaces() {
		uids = append(uids, p.GetUid())
	}
	for _, uid := range uids {
		if d.pods[uid] == nil && !d.hasLeft(uid) {
			return fmt.Errorf("pod %s does not take part in direct connections yet", uid)
		}
	}
	return nil
}

func (d *directs) hasLeft(uid string) bool {
	for _, l := range d.left {
		if l.uid == uid {
			return true
		}
	}
	return false
}

func (d *directs) destroy(by map[uint64]*directPod, f *bpf.DirectFlow) error {
	there, here := by[f.Account.Way.Netns], by[f.Account.Netns]
	if there == nil || here == nil {
		return nil // gone with its pod
	}
	_, err := there.diag.Destroy(f.To, f.From)
	_, err2 := here.diag.Destroy(f.From, f.To) // if the other side's reset was not faster
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("end direct connection: %w", err)
	}
	d.a.events.add("direct_flows_ended", 1)
	return nil
}

// orphan ends the connections of a pod that is gone at their other end: nobody else would tell it. Called with
// d.mu held.
func (d *directs) orphan(x *directPod) error {
	flows, err := d.a.mesh.DirectFlows()
	errs := []error{err}
	by := d.byCookie()
	for _, f := range flows {
		end, from, to := by[f.Account.Netns], f.From, f.To
		if f.Account.Netns == x.cookie {
			end, from, to = by[f.Account.Way.Netns], f.To, f.From
		} else if f.Account.Way.Netns != x.cookie {
			continue
		}
		if end != nil && end != x {
			_, err := end.diag.Destroy(from, to)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *directs) byCookie() map[uint64]*directPod {
	out := make(map[uint64]*directPod, len(d.pods))
	for _, p := range d.pods {
		out[p.cookie] = p
	}
	return out
}
