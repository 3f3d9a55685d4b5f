package direct

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/decide"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// ready is a rig with a link whose lease stands.
func ready(t *testing.T) *rig {
	t.Helper()
	x := newRig(t)
	x.offer(t)
	eventually(t, func() error {
		if _, lease := x.words(t); lease == 0 {
			return errNotYet
		}
		return nil
	})
	return x
}

// next waits for the agent's next requests and returns them when there are n.
func (x *rig) next(t *testing.T, n int) (list []*pb.DirectRequest) {
	t.Helper()
	eventually(t, func() error {
		if list = append(list, x.take()...); len(list) < n {
			return fmt.Errorf("%d requests, want %d", len(list), n)
		}
		return nil
	})
	return list
}

func TestVerdictHasTheGenerationOfItsSnapshot(t *testing.T) {
	x := ready(t)
	x.HandedOver(caller, to)
	allow := x.next(t, 1)[0].GetAllow()
	generation, lease := x.words(t)
	if allow.GetGeneration() != generation || generation != x.base+5 || len(allow.GetCalls()) != 1 {
		t.Errorf("gate %d, base %d, verdict %v", generation, x.base, allow)
	}
	c := allow.GetCalls()[0]
	if c.GetSource() != "caller" || c.GetPort() != 80 || len(c.GetPlaces()) != 1 || c.GetPlaces()[0].GetUid() != "dest" {
		t.Errorf("call %v", c)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	if left := int64(lease) - now.Nano(); left > leaseTime.Nanoseconds() {
		t.Errorf("the lease is %d ns from now", left)
	}
}

func TestChangeVoidsVerdictsBeforeItIsPublished(t *testing.T) {
	x := ready(t)
	x.HandedOver(caller, to)
	x.next(t, 1)
	x.Publishing(6)
	if generation, _ := x.words(t); generation != x.base+6 {
		t.Errorf("generation %d, base %d", generation, x.base)
	}
	x.change(func() {})
	if got := x.next(t, 1)[0].GetAllow().GetGeneration(); got != x.base+6 {
		t.Errorf("the verdict's generation is %d, base %d", got, x.base)
	}
}

func TestRefusedConnectionsAreEndedFirst(t *testing.T) {
	x := ready(t)
	x.HandedOver(caller, to)
	x.next(t, 1)
	x.change(func() { x.allowed, x.why = false, reason.PolicyDeny })
	list := x.next(t, 2)
	if len(list[0].GetEnd().GetCalls()) != 1 || len(list[1].GetWithdraw().GetCalls()) != 1 {
		t.Errorf("asked %v", list)
	}
	x.change(func() {})
	x.change(func() { x.allowed, x.why = true, reason.None })
	if list := x.next(t, 1); list[0].GetAllow() == nil { // not ended again meanwhile
		t.Errorf("asked %v", list)
	}
	x.change(func() { x.allowed, x.why = false, reason.PolicyDeny })
	if list := x.next(t, 2); list[0].GetEnd() == nil {
		t.Errorf("asked %v", list)
	}
}

func TestConnectionsThatCannotBeEndedAreTriedAgain(t *testing.T) {
	x := ready(t)
	x.HandedOver(caller, to)
	x.next(t, 1)
	x.change(func() { x.allowed, x.why, x.fail = false, reason.PolicyDeny, "no" })
	if list := x.next(t, 2); list[0].GetEnd() == nil || list[1].GetEnd() == nil {
		t.Errorf("asked %v", list)
	}
}

func TestUnknownPolicyHoldsConnections(t *testing.T) {
	x := ready(t)
	x.HandedOver(caller, to)
	x.next(t, 1)
	x.change(func() { x.allowed, x.why = false, reason.PolicyUnknown })
	for _, r := range x.next(t, 1) {
		if r.GetWithdraw() == nil {
			t.Errorf("asked %v", r)
		}
	}
}

func TestNothingPassesWithoutTheAgent(t *testing.T) {
	for name, stop := range map[string]func(x *rig, end func()){
		"the agent is gone": func(_ *rig, end func()) { end() },
		"the proxy drains":  func(x *rig, _ func()) { x.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			x := newRig(t)
			end := x.offer(t)
			eventually(t, func() error {
				if _, lease := x.words(t); lease == 0 {
					return errNotYet
				}
				return nil
			})
			stop(x, end)
			eventually(t, func() error {
				if _, lease := x.words(t); lease != 0 {
					return errNotYet
				}
				return nil
			})
		})
	}
}

func TestDrainingProxyTakesNoOffer(t *testing.T) {
	x := newRig(t)
	x.Stop()
	if err := x.Open(devNull(t), devNull(t)); err == nil {
		t.Error("it took the offer")
	}
}

func devNull(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestNewLinkHearsEverythingAgain(t *testing.T) {
	x := ready(t)
	x.HandedOver(caller, to)
	x.next(t, 1)
	x.offer(t)
	if list := x.next(t, 1); list[0].GetAllow() == nil {
		t.Errorf("asked %v", list)
	}
}

func accountOf(opened, closed, sent, received uint64) *pb.DirectAccount {
	c := callKey{"caller", to}.message([]decide.Place{{Pod: dest, At: to}})
	return &pb.DirectAccount{Call: c, Opened: opened, Closed: closed, Sent: sent, Received: received}
}

func TestCountsNeverShrink(t *testing.T) {
	x := ready(t)
	x.HandedOver(caller, to)
	x.next(t, 1)
	tell := func(a *pb.DirectAccount, want decide.Tally) {
		t.Helper()
		x.mu.Lock()
		x.accounts = []*pb.DirectAccount{a}
		x.mu.Unlock()
		eventually(t, func() error {
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.counted != want {
				return fmt.Errorf("counted %+v, want %+v", x.counted, want)
			}
			return nil
		})
	}
	tell(accountOf(3, 1, 100, 200), decide.Tally{Opened: 3, Closed: 1, Sent: 100, Received: 200})
	tell(accountOf(4, 2, 90, 200), decide.Tally{Opened: 4, Closed: 2, Sent: 100, Received: 200})
	tell(accountOf(4, 4, 150, 250), decide.Tally{Opened: 4, Closed: 4, Sent: 150, Received: 250})
}

func TestPredecessorsConnectionsAreJudged(t *testing.T) {
	x := newRig(t)
	x.accounts = []*pb.DirectAccount{accountOf(5, 3, 100, 100)}
	x.why = reason.PolicyDeny
	x.offer(t)
	if list := x.next(t, 1); len(list[0].GetEnd().GetCalls()) != 1 {
		t.Errorf("asked %v", list)
	}
}

func TestEndedConnectionsAreTold(t *testing.T) {
	x := ready(t)
	x.HandedOver(caller, to)
	x.next(t, 1)
	x.mu.Lock()
	x.ended = []*pb.DirectFlow{
		{Call: accountOf(0, 0, 0, 0).GetCall(), Port: 40000, AtNs: 5e9, LifeNs: 2e9, Sent: 7, Received: 8},
		{Call: &pb.DirectCall{Source: "stranger"}, Port: 40001},
	}
	x.mu.Unlock()
	eventually(t, func() error {
		x.mu.Lock()
		defer x.mu.Unlock()
		if len(x.told) != 1 {
			return fmt.Errorf("told %+v", x.told)
		}
		return nil
	})
	r := x.told[0]
	if r.Source.String() != "10.0.0.1:40000" || r.Dest != to || r.Ended != 2*time.Second || !r.Accepted.Equal(time.Unix(3, 0)) || r.Sent.Load() != 7 || r.Received.Load() != 8 {
		t.Errorf("told %+v", r)
	}
}

func TestRunningConnectionsAreListed(t *testing.T) {
	x := ready(t)
	x.HandedOver(caller, to)
	x.next(t, 1)
	x.mu.Lock()
	x.live = []*pb.DirectFlow{{Call: accountOf(0, 0, 0, 0).GetCall(), Port: 40000, Id: 9}, {Call: accountOf(0, 0, 0, 0).GetCall(), Port: 40001, Id: 10}}
	x.mu.Unlock()
	var ids []uint64
	x.Each(func(r *engine.Record) bool { ids = append(ids, r.ID); return false })
	x.Each(func(r *engine.Record) bool { ids = append(ids, r.ID); return true })
	if !slices.Equal(ids, []uint64{9, 9, 10}) {
		t.Errorf("connections %v", ids)
	}
}

func TestNoPodCrowdsOthersOut(t *testing.T) {
	b := book{calls: map[callKey]*call{}, of: map[string]int{}}
	at := func(pod string, port int) callKey { return callKey{pod, netip.AddrPortFrom(to.Addr(), uint16(port))} }
	for i := range maxOfPod {
		if !b.put(at("greedy", 1+i), &call{}) {
			t.Fatalf("no room after %d", i)
		}
	}
	if b.put(at("greedy", 60000), &call{}) || !b.put(at("greedy", 1), &call{}) || !b.put(at("other", 1), &call{}) {
		t.Error("one pod took more than its share, or another less")
	}
	b.drop(at("greedy", 7))
	b.drop(at("greedy", 7))
	if !b.put(at("greedy", 60000), &call{}) || b.of["greedy"] != maxOfPod {
		t.Errorf("%d calls of one pod", b.of["greedy"])
	}
}
