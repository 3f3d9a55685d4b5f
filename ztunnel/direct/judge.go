package direct

import (
	"fmt"
	"slices"
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/decide"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// begin takes what the proxy before left running over and tells a new link all that is known.
func (m *Manager) begin() error {
	for _, c := range m.calls {
		c.stands = false
	}
	if err := m.adopt(); err != nil {
		return err
	}
	if err := m.judge(); err != nil {
		return err
	}
	if err := m.lease(); err != nil {
		return err
	}
	m.cfg.Log.Info("pods of this node may be connected directly")
	return nil
}

// offered gives a verdict on a call that the proxy has let through, unless there is one.
func (m *Manager) offered(o offer) error {
	k := callKey{o.caller.UID, o.to}
	c := m.calls[k]
	if m.link == nil || m.cfg.Pod(k.source) != o.caller {
		return nil
	}
	if c == nil || c.caller != o.caller {
		if c = (&call{caller: o.caller}); !m.put(k, c) {
			return nil
		}
	}
	c.used = m.cfg.Now()
	return m.rule(map[callKey]*call{k: c}, true)
}

// judge judges all calls and all running connections by the current snapshot. Every verdict is void by then.
func (m *Manager) judge() error {
	if m.link == nil {
		return nil
	}
	if err := m.endRefused(); err != nil {
		return err
	}
	return m.rule(m.calls, true)
}

// refresh looks again at what may change without a new snapshot: which endpoints are ejected, whether a
// connection has been held long enough, and which calls nobody makes any more.
func (m *Manager) refresh() error {
	services := map[callKey]*call{}
	for k, c := range m.calls {
		if c.ruling.Service != nil {
			services[k] = c
		}
	}
	if err := m.endRefused(); err != nil {
		return err
	}
	return m.rule(services, false)
}

// rule judges calls and tells the agent; with all set also what it knows already.
func (m *Manager) rule(calls map[callKey]*call, all bool) error {
	byGeneration := map[uint64][]*pb.DirectCall{}
	var refused []*pb.DirectCall
	now := m.cfg.Now()
	for k, c := range calls {
		if m.cfg.Pod(k.source) != c.caller { // the agent has dropped what there was
			m.drop(k)
			continue
		}
		r, ok := m.cfg.Judge.Direct(c.caller, k.to)
		idle := now.Sub(c.used) > idleTime
		if !ok || idle {
			if c.stands {
				refused = append(refused, k.message(nil))
			}
			c.stands = false
			c.ruling = r
			if idle {
				m.drop(k)
			}
			continue
		}
		same := c.stands && slices.EqualFunc(c.ruling.Places, r.Places, samePlace) && c.ruling.Generation == r.Generation
		c.ruling, c.stands = r, true
		for i := range r.Places {
			m.open(k, &r, &r.Places[i])
		}
		if all || !same {
			byGeneration[r.Generation] = append(byGeneration[r.Generation], k.message(r.Places))
		}
	}
	if err := m.link.withdraw(refused); err != nil {
		return err
	}
	for generation, list := range byGeneration {
		if err := m.link.allow(m.base+generation, list); err != nil {
			return err
		}
	}
	return nil
}

func samePlace(a, b decide.Place) bool { return a.Pod == b.Pod && a.At == b.At }

// endRefused ends running connections that would not be let in now. What cannot be ended is tried again.
func (m *Manager) endRefused() error {
	var end []*pb.DirectCall
	var ended []*account
	for k, a := range m.accounts {
		if a.ended || m.stays(a) {
			continue
		}
		end = append(end, k.message([]decide.Place{a.place}))
		ended = append(ended, a)
	}
	if len(end) == 0 {
		return nil
	}
	if err := m.link.end(end); err != nil {
		return fmt.Errorf("refused connections live on: %w", err)
	}
	for _, a := range ended {
		a.ended = true
	}
	return nil
}

// stays says whether an account's connections may go on. A policy that is not known holds them for as long as
// a new connection would wait.
func (m *Manager) stays(a *account) bool {
	why, ok := m.cfg.Judge.RejudgeDirect(a.ruling.Caller, a.place.Pod, a.place.At)
	if ok || why != reason.PolicyUnknown {
		a.held = time.Time{}
		return ok
	}
	now := m.cfg.Now()
	if a.held.IsZero() {
		a.held = now
	}
	return now.Sub(a.held) < m.cfg.PolicyWait
}
