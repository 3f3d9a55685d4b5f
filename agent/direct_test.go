package agent_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

const (
	generation = 7
	leaseTime  = 8 * time.Second
)

// newDirectPlay is a play whose proxy takes direct connections.
func newDirectPlay(t *testing.T) *play {
	t.Helper()
	h := newTheater(t)
	p := &play{theater: h, c: h.Pod("c"), s: h.Pod("s"), x: h.Pod("x")}
	p.x.Labels = "istio.io/dataplane-mode: none"
	p.x.Write()
	h.Namespace(ambient, "")
	h.start()
	p.proxy = h.Role("proxy", "proxy", "AMBIT_STAGE_ZDS="+h.Socket(), "AMBIT_STAGE_DIRECT=1")
	h.become(agent.ActualEnrolled, "c", "s")
	p.answering(t)
	return p
}

// answering waits until the proxy is in charge.
func (p *play) answering(t *testing.T) {
	t.Helper()
	eventually(t, "the agent offers direct connections", func() error {
		return p.proxy.TryOrder(stage.Order{}, &pb.DirectRequest{Payload: &pb.DirectRequest_Renew{Renew: &pb.RenewDirect{}}}, &pb.DirectResponse{})
	})
}

func callFrom(from *stage.Pod, to string, places ...*pb.DirectPlace) *pb.DirectCall {
	a := netip.MustParseAddrPort(to)
	return &pb.DirectCall{Source: "uid-" + from.Name, Address: a.Addr().AsSlice(), Port: uint32(a.Port()), Places: places}
}

func place(p *stage.Pod, at string) *pb.DirectPlace {
	a := netip.MustParseAddrPort(at)
	return &pb.DirectPlace{Uid: "uid-" + p.Name, Address: a.Addr().AsSlice(), Port: uint32(a.Port())}
}

// allow gives verdicts and opens the gate for them.
func (p *play) allow(t *testing.T, calls ...*pb.DirectCall) {
	t.Helper()
	p.proxy.Order(t, stage.Order{Generation: generation, Lease: leaseTime}, &pb.DirectRequest{
		Payload: &pb.DirectRequest_Allow{Allow: &pb.AllowDirect{Generation: generation, Calls: calls}},
	})
}

func (p *play) read(t *testing.T, live bool) []*pb.DirectAccount {
	t.Helper()
	return p.proxy.Order(t, stage.Order{}, &pb.DirectRequest{Payload: &pb.DirectRequest_Read{Read: &pb.ReadDirect{Live: live}}}).GetAccounts()
}

// directly is what a dial sees that goes past the proxy.
func (p *play) directly(v6 bool) want {
	if v6 {
		return want{who: "s", client: p.c.V6.String()}
	}
	return want{who: "s", client: p.c.V4.String()}
}

// proxied is what it sees else.
func (p *play) proxied(v6 bool, to string) want {
	w := p.directly(v6)
	w.events = []string{"out c " + w.client + ">" + to, "in s " + w.client + ">" + to}
	return w
}

func TestDirect(t *testing.T) {
	p := newDirectPlay(t)
	for _, v6 := range []bool{false, true} {
		name, to := "v4", stage.At(p.s.V4, 8080)
		if v6 {
			name, to = "v6", stage.At(p.s.V6, 8080)
		}
		t.Run(name, func(t *testing.T) {
			call := callFrom(p.c, to, place(p.s, to))
			p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(v6, to))
			p.allow(t, call)
			c := p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(v6))
			p.c.Process.Close(t, c)
			t.Run("other pods and ports are not meant", func(t *testing.T) {
				p.allow(t, call)
				from := p.x.V4.String()
				if v6 {
					from = p.x.V6.String()
				}
				p.check(t, p.x.Process, stage.Dial{To: to}, want{who: "s", client: from, events: []string{"in s " + from + ">" + to}})
			})
			t.Run("another generation", func(t *testing.T) {
				p.allow(t, call)
				p.proxy.Order(t, stage.Order{Generation: generation + 1, Lease: leaseTime}, nil)
				p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(v6, to))
			})
			t.Run("the lease has lapsed", func(t *testing.T) {
				p.allow(t, call)
				p.proxy.Order(t, stage.Order{Generation: generation, Lease: -1}, nil)
				p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(v6, to))
			})
			t.Run("a lease of another clock", func(t *testing.T) {
				p.allow(t, call)
				p.proxy.Order(t, stage.Order{Generation: generation, Lease: time.Hour}, nil)
				p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(v6, to))
			})
			t.Run("withdrawn", func(t *testing.T) {
				p.allow(t, call)
				c := p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(v6))
				p.withdraw(t, call)
				p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(v6, to))
				if err := p.c.Process.Ping(c); err != nil {
					t.Errorf("a running connection: %v", err)
				}
			})
			t.Run("ended", func(t *testing.T) {
				p.allow(t, call)
				c := p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(v6))
				p.end(t, call)
				if how := p.c.Process.End(t, c); !strings.Contains(how, "reset") {
					t.Errorf("the connection ended with %q, want a reset", how)
				}
				p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(v6, to))
			})
		})
	}
}

func TestDirectService(t *testing.T) {
	p := newDirectPlay(t)
	for _, v6 := range []bool{false, true} {
		name, vip, to := "v4", "10.96.1.2:80", stage.At(p.s.V4, 8080)
		if v6 {
			name, vip, to = "v6", "[fd96::2]:80", stage.At(p.s.V6, 8080)
		}
		t.Run(name, func(t *testing.T) {
			p.allow(t, callFrom(p.c, vip, place(p.s, to)))
			p.proxy.Log(t)
			for _, d := range []stage.Dial{{To: vip}, {To: vip, Mapped: true}} {
				if d.Mapped && v6 {
					continue
				}
				c := p.c.Process.Dial(t, d)
				if c.Err != "" || c.Who != "s" || c.SawLocal != to || c.Peer != vip {
					t.Errorf("dial %+v: %+v", d, c)
				}
				if log := p.proxy.Log(t); len(log) > 0 {
					t.Errorf("the proxy saw %v", log)
				}
			}
		})
	}
}

func TestDirectAccounts(t *testing.T) {
	p := newDirectPlay(t)
	to, closed := stage.At(p.s.V4, 8080), stage.At(p.s.V4, 9)
	calls := []*pb.DirectCall{callFrom(p.c, to, place(p.s, to)), callFrom(p.c, closed, place(p.s, closed))}
	p.allow(t, calls...)
	c := p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
	got, err := p.c.Process.Bulk(c, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	p.allow(t, calls...)
	if f := p.c.Process.Dial(t, stage.Dial{To: closed}); !strings.Contains(f.Err, "refused") {
		t.Errorf("a closed port: %+v", f)
	}
	at := func(a *pb.DirectAccount) bool { return a.GetCall().GetPort() == 8080 }
	eventually(t, "the account is settled", func() error {
		all := p.read(t, true)
		i, j := slices.IndexFunc(all, at), slices.IndexFunc(all, func(a *pb.DirectAccount) bool { return !at(a) })
		if i < 0 || j < 0 || all[i].GetClosed() != 1 || all[i].GetOpened() != 1 || all[j].GetFailed() != 1 || all[j].GetOpened() != 0 {
			return fmt.Errorf("accounts %v", all)
		}
		t.Logf("%v; bulk %d", all[i], got)
		return nil
	})
	p.eventually("flows are gone", func() error { return p.flowsOf("direct", 0) })
	out := p.proxy.Order(t, stage.Order{}, &pb.DirectRequest{Payload: &pb.DirectRequest_Ended{Ended: &pb.EndedDirect{}}})
	if len(out.GetFlows()) != 1 {
		t.Fatalf("ended %v", out.GetFlows())
	}
	e := out.GetFlows()[0]
	age := time.Since(time.Unix(0, e.GetAtNs()))
	if e.GetCall().GetSource() != "uid-c" || fmt.Sprint(e.GetPort()) != portOf(c.Local) || e.GetReceived() < 1<<20 || e.GetLifeNs() <= 0 || age < 0 || age > time.Minute {
		t.Errorf("ended %v %s ago, from %s", e, age, c.Local)
	}
}

// An account without a verdict and without connections makes room once all of it has been read.
func TestDirectAccountsMakeRoom(t *testing.T) {
	p := newDirectPlay(t)
	to := stage.At(p.s.V4, 8080)
	call := callFrom(p.c, to, place(p.s, to))
	p.allow(t, call)
	c := p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
	p.withdraw(t, call)
	for range 3 {
		if all := p.read(t, true); len(all) != 1 || all[0].GetLast() {
			t.Fatalf("accounts %v", all)
		}
	}
	p.c.Process.Close(t, c)
	eventually(t, "the account ends", func() error {
		if all := p.read(t, true); len(all) != 1 || !all[0].GetLast() || all[0].GetClosed() != 1 {
			return fmt.Errorf("accounts %v", all)
		}
		return nil
	})
	if all := p.read(t, true); len(all) != 0 {
		t.Errorf("accounts %v", all)
	}
	p.allow(t, call)
	p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
}

func TestDirectIsDeclined(t *testing.T) {
	p := newPlay(t)
	if err := p.proxy.TryOrder(stage.Order{}, nil, &pb.DirectResponse{}); err == nil {
		t.Error("the proxy has something")
	}
	to := stage.At(p.s.V4, 8080)
	p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(false, to))
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
