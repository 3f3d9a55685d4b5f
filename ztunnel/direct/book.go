package direct

import (
	"net/netip"
	"time"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
	"github.com/ambitmesh/ambit/ztunnel/decide"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// book is what the proxy knows of direct connections.
type book struct {
	calls    map[callKey]*call
	of       map[string]int // calls of a pod, by uid
	accounts map[accountKey]*account
}

type callKey struct {
	source string // uid
	to     netip.AddrPort
}

// call is one that may go direct, or might.
type call struct {
	caller *engine.Pod
	ruling decide.Ruling
	stands bool // the agent has a verdict on it
	used   time.Time
}

type accountKey struct {
	callKey
	dest string // uid
	at   netip.AddrPort
}

// account is a call and one place that it led to.
type account struct {
	ruling decide.Ruling
	place  decide.Place
	last   decide.Tally // that has been counted
	held   time.Time    // since when its policy is not known; zero: it is
	ended  bool         // its connections have been ended, and none was allowed since
}

// put notes a call, if there is room.
func (b *book) put(k callKey, c *call) bool {
	if b.calls[k] == nil {
		if len(b.calls) >= maxCalls || b.of[k.source] >= maxOfPod {
			return false
		}
		b.of[k.source]++
	}
	b.calls[k] = c
	return true
}

func (b *book) drop(k callKey) {
	if b.calls[k] == nil {
		return
	}
	delete(b.calls, k)
	if b.of[k.source]--; b.of[k.source] == 0 {
		delete(b.of, k.source)
	}
}

// open returns the account of a place, made if need be.
func (b *book) open(k callKey, r *decide.Ruling, p *decide.Place) *account {
	key := accountKey{k, p.Pod.UID, p.At}
	a := b.accounts[key]
	if a == nil {
		a = &account{}
		b.accounts[key] = a
	}
	a.ruling, a.place, a.ended, a.held = *r, *p, false, time.Time{}
	a.ruling.Places = nil
	return a
}

func (k callKey) message(places []decide.Place) *pb.DirectCall {
	m := &pb.DirectCall{Source: k.source, Address: k.to.Addr().AsSlice(), Port: uint32(k.to.Port())}
	for _, p := range places {
		m.Places = append(m.Places, &pb.DirectPlace{Uid: p.Pod.UID, Address: p.At.Addr().AsSlice(), Port: uint32(p.At.Port())})
	}
	return m
}

func keyOf(c *pb.DirectCall) (accountKey, bool) {
	if len(c.GetPlaces()) != 1 {
		return accountKey{}, false
	}
	p := c.GetPlaces()[0]
	to, ok := netip.AddrFromSlice(c.GetAddress())
	at, ok2 := netip.AddrFromSlice(p.GetAddress())
	return accountKey{
		callKey{c.GetSource(), netip.AddrPortFrom(to, uint16(c.GetPort()))},
		p.GetUid(), netip.AddrPortFrom(at, uint16(p.GetPort())),
	}, ok && ok2
}
