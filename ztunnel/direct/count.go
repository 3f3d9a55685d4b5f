package direct

import (
	"net/netip"
	"time"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
	"github.com/ambitmesh/ambit/ztunnel/decide"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// count counts what the kernel has carried since the last time, and forgets what has ended with its pods.
func (m *Manager) count() error {
	seen := map[accountKey]bool{}
	err := m.link.read(true, func(msg *pb.DirectAccount) {
		k, ok := keyOf(msg.GetCall())
		a := m.accounts[k]
		if !ok || a == nil || msg.GetGone() && m.there(k) { // an earlier pod's of this uid
			return
		}
		seen[k] = true
		m.add(k, a, tallyOf(msg))
		if msg.GetLast() {
			delete(m.accounts, k)
		}
	})
	if err != nil {
		return err
	}
	for k, a := range m.accounts {
		if !seen[k] && !m.there(k) {
			left := a.last.Opened - min(a.last.Closed, a.last.Opened)
			m.cfg.Judge.Count(&a.ruling, &a.place, decide.Tally{Closed: left})
			delete(m.accounts, k)
		}
	}
	return nil
}

func (m *Manager) there(k accountKey) bool {
	return m.cfg.Pod(k.source) != nil && m.cfg.Pod(k.dest) != nil
}

func (m *Manager) add(k accountKey, a *account, n decide.Tally) {
	d := decide.Tally{
		Opened: more(n.Opened, &a.last.Opened), Closed: more(n.Closed, &a.last.Closed), Failed: more(n.Failed, &a.last.Failed),
		Sent: more(n.Sent, &a.last.Sent), Received: more(n.Received, &a.last.Received),
	}
	if c := m.calls[k.callKey]; c != nil && d.Opened > 0 {
		c.used = m.cfg.Now()
	}
	if d != (decide.Tally{}) || a.last.Opened > a.last.Closed {
		m.cfg.Judge.Count(&a.ruling, &a.place, d)
	}
}

// tell writes what has ended to the access log.
func (m *Manager) tell() error {
	return m.link.ended(func(e *pb.DirectFlow) {
		if r := m.record(e); r != nil {
			m.cfg.Judge.Ended(r)
		}
	})
}

// Each calls f for every running connection until f returns false. It asks the agent, and waits for it.
func (m *Manager) Each(f func(*engine.Record) bool) {
	var list []*engine.Record
	done := make(chan struct{})
	job := func() {
		defer close(done)
		if m.link == nil {
			return
		}
		m.try(m.link.live(func(e *pb.DirectFlow) {
			if r := m.record(e); r != nil {
				list = append(list, r)
			}
		}))
	}
	select {
	case m.jobs <- job:
	case <-m.done:
		return
	}
	<-done
	for _, r := range list {
		if !f(r) {
			return
		}
	}
}

// record is what a connection would be that goes through the proxy; nil if nothing is known of its account.
func (m *Manager) record(e *pb.DirectFlow) *engine.Record {
	k, ok := keyOf(e.GetCall())
	a := m.accounts[k]
	if !ok || a == nil {
		return nil
	}
	return decide.RecordOf(&a.ruling, &a.place, decide.Carried{
		ID: e.GetId(), To: k.to, Port: uint16(e.GetPort()), At: time.Unix(0, e.GetAtNs()), Life: time.Duration(e.GetLifeNs()),
		Sent: e.GetSent(), Received: e.GetReceived(),
	})
}

// more is by how much a counter has grown. It never shrinks: a connection that ended while the agent looked
// is missing for once.
func more(now uint64, last *uint64) uint64 {
	if now <= *last {
		return 0
	}
	d := now - *last
	*last = now
	return d
}

func tallyOf(m *pb.DirectAccount) decide.Tally {
	return decide.Tally{Opened: m.GetOpened(), Closed: m.GetClosed(), Failed: m.GetFailed(), Sent: m.GetSent(), Received: m.GetReceived()}
}

// adopt takes over the accounts of which this process knows nothing: its predecessor's. What lives counts as
// opened now, as its bytes do from now on.
func (m *Manager) adopt() error {
	return m.link.read(true, func(msg *pb.DirectAccount) {
		k, ok := keyOf(msg.GetCall())
		if !ok || msg.GetGone() || m.accounts[k] != nil {
			return
		}
		caller, dest := m.cfg.Pod(k.source), m.cfg.Pod(k.dest)
		if caller == nil || dest == nil {
			return
		}
		a := &account{
			ruling: decide.Ruling{Caller: caller}, place: decide.Place{Pod: dest, At: k.at}, last: tallyOf(msg),
		}
		a.last.Opened = a.last.Closed
		if r, ok := m.cfg.Judge.Direct(caller, k.to); ok {
			a.describe(&r, k.at)
		}
		m.accounts[k] = a
	})
}

// describe takes over what is known of a place for the labels.
func (a *account) describe(r *decide.Ruling, at netip.AddrPort) {
	for _, p := range r.Places {
		if p.At == at && p.Pod == a.place.Pod {
			a.ruling, a.place = *r, p
			a.ruling.Places = nil
		}
	}
}
