package agent

import (
	"errors"

	"github.com/ambitmesh/ambit/bpf"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// tallies is how many accounts fit into one packet, whatever the uids' length.
const tallies = 64

// tally is one account with its numbers.
type tally struct {
	bpf.Account
	bpf.Counts
	source, dest string // uids
	gone, last   bool
}

// read gives the accounts packet by packet; the first makes the picture that the others show.
func (d *directs) read(m *pb.ReadDirect) (*response, error) {
	if m.GetFrom() == 0 {
		var err error
		if d.picture, err = d.paint(m.GetLive()); err != nil {
			return nil, err
		}
	}
	from := min(int(m.GetFrom()), len(d.picture))
	to := min(from+tallies, len(d.picture))
	out := &response{More: to < len(d.picture)}
	for i := range d.picture[from:to] {
		out.Accounts = append(out.Accounts, d.picture[from+i].message())
	}
	if !out.GetMore() {
		d.picture = nil
	}
	return out, nil
}

// ended tells of connections that have ended. Those of pods that nobody remembers are left out.
func (d *directs) ended() (*response, error) {
	list, err := d.a.mesh.EndedFlows(tallies)
	if err != nil {
		return nil, err
	}
	by, out := d.byCookie(), &response{More: len(list) == tallies}
	for _, e := range list {
		source, _ := d.name(by, e.Netns)
		dest, _ := d.name(by, e.Way.Netns)
		if source == "" || dest == "" {
			continue
		}
		out.Flows = append(out.Flows, &pb.DirectFlow{
			Call: callOf(e.Account, source, dest), Port: uint32(e.Port), AtNs: e.At.UnixNano(), LifeNs: e.Life.Nanoseconds(),
			Sent: e.Sent, Received: e.Received,
		})
	}
	return out, nil
}

func callOf(a bpf.Account, source, dest string) *pb.DirectCall {
	return &pb.DirectCall{
		Source: source, Address: a.To.Addr().AsSlice(), Port: uint32(a.To.Port()),
		Places: []*pb.DirectPlace{{Uid: dest, Address: a.Way.To.Addr().AsSlice(), Port: uint32(a.Way.To.Port())}},
	}
}

func (t *tally) message() *pb.DirectAccount {
	return &pb.DirectAccount{
		Call:   callOf(t.Account, t.source, t.dest),
		Opened: t.Opened, Closed: t.Closed, Failed: t.Failed, Sent: t.Sent, Received: t.Received, Gone: t.gone, Last: t.last,
	}
}

// paint reads what ended connections have counted before it looks at the live ones: one that ends in
// between is missing this time, and counted twice never.
func (d *directs) paint(live bool) ([]tally, error) {
	counts, err := d.a.mesh.Accounts()
	if err != nil {
		return nil, err
	}
	if live {
		if err := d.addLive(counts); err != nil {
			return nil, err
		}
	}
	by := d.byCookie()
	var out []tally
	var dead []bpf.Account
	for a, n := range counts {
		t := tally{Account: a, Counts: n}
		var late, late2 bool
		t.source, late = d.name(by, a.Netns)
		t.dest, late2 = d.name(by, a.Way.Netns)
		t.gone = by[a.Netns] == nil || by[a.Way.Netns] == nil
		t.last = !t.gone && d.unused(by[a.Netns], a, n)
		if late || late2 || t.last {
			dead = append(dead, a)
		}
		if t.source != "" && t.dest != "" {
			out = append(out, t)
		}
	}
	d.before = counts
	return out, d.bury(by, dead)
}

// unused says whether an account has no verdict, no connection, and nothing that was not painted before. It
// makes room for others then.
func (d *directs) unused(src *directPod, a bpf.Account, n bpf.Counts) bool {
	old, ok := d.before[a]
	return ok && old == n && n.Opened == n.Closed && !src.calls[a.To]
}

// name is the uid behind a cookie, "" if nobody knows. late says that what it had is not counted any more.
func (d *directs) name(by map[uint64]*directPod, cookie uint64) (uid string, late bool) {
	if p := by[cookie]; p != nil {
		return p.uid, false
	}
	l, ok := d.left[cookie]
	return l.uid, !ok || d.a.cfg.Now().Sub(l.at) > lateTime
}

// bury forgets accounts that have been painted for the last time, and pods that have none.
func (d *directs) bury(by map[uint64]*directPod, dead []bpf.Account) error {
	var errs []error
	for _, a := range dead {
		errs = append(errs, d.a.mesh.DropAccount(a))
	}
	for cookie := range d.left {
		if _, late := d.name(by, cookie); late {
			delete(d.left, cookie)
		}
	}
	return errors.Join(errs...)
}
