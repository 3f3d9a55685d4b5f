package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

func TestDirectSockets(t *testing.T) {
	p := newDirectPlay(t)
	s4, s6 := stage.At(p.s.V4, 8080), stage.At(p.s.V6, 8080)
	for name, d := range map[string]stage.Dial{
		"v4-mapped": {To: s4, Mapped: true}, "own address v4": {To: s4, From: p.c.V4.String()}, "own address v6": {To: s6, From: p.c.V6.String()},
		"MPTCP v4": {To: s4, MPTCP: true}, "MPTCP v6": {To: s6, MPTCP: true}, "own mark": {To: s4, Mark: 0x111},
	} {
		t.Run(name, func(t *testing.T) {
			p.allow(t, callFrom(p.c, d.To, place(p.s, d.To)))
			p.check(t, p.c.Process, d, p.directly(d.To == s6))
		})
	}
	for name, d := range map[string]stage.Dial{"device v4": {To: s4, Device: "eth0"}, "device v6": {To: s6, Device: "eth0"}} {
		t.Run(name+" goes through the proxy", func(t *testing.T) {
			p.allow(t, callFrom(p.c, d.To, place(p.s, d.To)))
			p.check(t, p.c.Process, d, p.proxied(d.To == s6, d.To))
		})
	}
	t.Run("a socket that went direct goes through the proxy the next time", func(t *testing.T) {
		call := callFrom(p.c, s4, place(p.s, s4))
		p.allow(t, call)
		c := p.check(t, p.c.Process, stage.Dial{To: s4}, p.directly(false))
		p.withdraw(t, call)
		p.proxy.Log(t)
		if err := p.c.Process.Reuse(c, s4); err != nil {
			t.Fatal(err)
		}
		seen := 0
		p.eventually("both of the proxy's sides are there", func() error {
			if seen += len(p.proxy.Log(t)); seen != 2 {
				return fmt.Errorf("the proxy saw %d connections, want 2", seen)
			}
			return nil
		})
		p.allow(t, call)
		if err := p.c.Process.Reuse(c, s4); err != nil {
			t.Fatal(err)
		}
		if log := p.proxy.Log(t); len(log) != 0 {
			t.Errorf("the proxy saw %v", log)
		}
	})
}

func (p *play) withdraw(t *testing.T, calls ...*pb.DirectCall) {
	t.Helper()
	p.proxy.Order(t, stage.Order{}, &pb.DirectRequest{Payload: &pb.DirectRequest_Withdraw{Withdraw: &pb.WithdrawDirect{Calls: calls}}})
}

func (p *play) end(t *testing.T, calls ...*pb.DirectCall) {
	t.Helper()
	p.proxy.Order(t, stage.Order{}, &pb.DirectRequest{Payload: &pb.DirectRequest_End{End: &pb.EndDirect{Calls: calls}}})
}

func TestDirectAgentRestarted(t *testing.T) {
	p := newDirectPlay(t)
	to := stage.At(p.s.V4, 8080)
	call := callFrom(p.c, to, place(p.s, to))
	p.allow(t, call)
	held := p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
	p.agent.Kill()
	p.start()
	p.become(agent.ActualEnrolled, "c", "s")
	p.answering(t)
	p.proxy.Order(t, stage.Order{Generation: generation, Lease: leaseTime}, nil) // the gate is open, and there are no verdicts
	p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(false, to))
	if err := p.c.Ping(held); err != nil {
		t.Errorf("a running connection: %v", err)
	}
	if all := p.read(t, true); len(all) != 1 || all[0].GetOpened() != 1 || all[0].GetClosed() != 0 || all[0].GetGone() {
		t.Errorf("accounts %v", all)
	}
	p.end(t, call) // of the old agent's verdict
	if how := p.c.End(t, held); !strings.Contains(how, "reset") {
		t.Errorf("the connection ended with %q, want a reset", how)
	}
	p.allow(t, call)
	p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
}

func TestDirectProxyKilled(t *testing.T) {
	p := newDirectPlay(t)
	to := stage.At(p.s.V4, 8080)
	p.allow(t, callFrom(p.c, to, place(p.s, to)))
	p.proxy.Kill()
	p.proxy = p.Role("proxy", "proxy", "AMBIT_STAGE_ZDS="+p.Socket(), "AMBIT_STAGE_DIRECT=1")
	p.answering(t)
	p.become(agent.ActualEnrolled, "c", "s")
	p.proxy.Order(t, stage.Order{Generation: generation, Lease: leaseTime}, nil)
	p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(false, to))
}

// An address goes to a new pod while its callers do not stop calling.
func TestDirectAddressReused(t *testing.T) {
	p := newDirectPlay(t)
	to := stage.At(p.s.V4, 8080)
	call := callFrom(p.c, to, place(p.s, to))
	name, old := "s", p.s
	for i := range 3 {
		p.allow(t, callFrom(p.c, to, place(old, to)))
		held := p.c.Dial(t, stage.Dial{To: to})
		if held.Who != name {
			t.Fatalf("%+v", held)
		}
		stop := p.c.Storm(t, stage.Dial{To: to, Timeout: time.Second})
		old.Process.Kill()
		old.Unwire(2)
		name = fmt.Sprintf("fresh-%d", i)
		fresh := p.PodAt(name, 2)
		old.Delete()
		p.become(agent.ActualEnrolled, name)
		p.proxy.Order(t, stage.Order{Generation: generation, Lease: leaseTime}, nil)
		direct, lost := p.count("direct_flows"), p.count("direct_lost")
		p.proxy.Log(t)
		time.Sleep(300 * time.Millisecond)
		stop()
		if n := p.count("direct_flows") - direct; n > 0 {
			t.Errorf("%d connections went direct to the new pod", n)
		}
		if n := p.count("direct_lost"); n > lost {
			t.Errorf("%d connections were lost", n-lost)
		}
		if err := p.c.Ping(held); err == nil {
			t.Error("a connection lives on in the new pod")
		}
		p.proxy.Log(t) // the storm's last ones may still come
		c := p.c.Dial(t, stage.Dial{To: to})
		log := p.proxy.Log(t)
		if in := slices.ContainsFunc(log, func(e stage.Event) bool { return e.Kind == "in" && e.Pod == "uid-"+name }); c.Who != name || !in {
			t.Errorf("got %+v, the proxy saw %v", c, log)
		}
		old = fresh
	}
	p.withdraw(t, call)
}

// Verdicts come and go under calls: each call is answered, and none reaches the proxy as a stranger's.
func TestDirectChurn(t *testing.T) {
	p := newDirectPlay(t)
	to := stage.At(p.s.V6, 8080)
	call := callFrom(p.c, to, place(p.s, to))
	p.allow(t, call)
	p.proxy.Log(t)
	stop := p.c.Storm(t, stage.Dial{To: to})
	for i := range 200 {
		switch i % 3 {
		case 0:
			p.withdraw(t, call)
		case 1:
			p.proxy.Order(t, stage.Order{Generation: generation + 1, Lease: leaseTime}, nil)
		case 2:
			p.allow(t, call)
			time.Sleep(2 * time.Millisecond)
		}
	}
	tally := stop()
	if len(tally.Failed) > 0 || tally.OK == 0 {
		t.Errorf("%d calls were answered, failed: %q", tally.OK, tally.Failed)
	}
	seen := map[string]int{}
	for _, e := range p.proxy.Log(t) {
		seen[e.Kind]++
	}
	direct, back, lost := p.count("direct_flows"), p.count("direct_turned_back"), p.count("direct_lost")
	t.Logf("%d calls, %d direct, %d turned back, through the proxy %v", tally.OK, direct, back, seen)
	if direct == 0 || seen["out"] == 0 || seen["in"] != seen["out"] || lost > 0 {
		t.Errorf("%d direct, %d lost, through the proxy %v", direct, lost, seen)
	}
}

func TestDirectUnenrol(t *testing.T) {
	p := newDirectPlay(t)
	to := stage.At(p.s.V4, 8080)
	p.allow(t, callFrom(p.c, to, place(p.s, to)))
	held := p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
	p.proxy.Behave(t, stage.Manners{Direct: true, PlainKnown: true})
	p.s.Labels = "istio.io/dataplane-mode: none"
	p.s.Write()
	p.become(agent.ActualPlain, "s")
	p.proxy.Order(t, stage.Order{Generation: generation, Lease: leaseTime}, nil)
	out := "out c " + p.c.V4.String() + ">" + to
	p.check(t, p.c.Process, stage.Dial{To: to}, want{who: "s", client: p.c.V4.String(), events: []string{out}})
	if err := p.c.Ping(held); err != nil {
		t.Errorf("a running connection: %v", err)
	}
}
