package agent_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
)

// play is a node with c and s enrolled, x not, and one proxy.
type play struct {
	*theater
	c, s, x *stage.Pod
	proxy   *stage.Process
}

func newPlay(t *testing.T) *play {
	t.Helper()
	h := newTheater(t)
	h.setup.ProxyAbsentAfter = time.Minute // what a slow machine may need to restart one
	p := &play{theater: h, c: h.Pod("c"), s: h.Pod("s"), x: h.Pod("x")}
	p.x.Labels = "istio.io/dataplane-mode: none"
	p.x.Write()
	h.Namespace(ambient, "ambit.dev/allow-exclude-inbound-ports: \"true\"")
	h.start()
	p.proxy = h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "c", "s")
	return p
}

// want is what a dial must have seen.
type want struct {
	who    string   // that answers
	client string   // its address as the server sees it
	events []string // "kind pod source>destination" of the proxy
	err    string
}

func (p *play) check(t *testing.T, from *stage.Process, d stage.Dial, w want) stage.Conn {
	t.Helper()
	p.proxy.Log(t)
	c := from.Dial(t, d)
	if w.err != "" {
		if !strings.Contains(c.Err, w.err) {
			t.Errorf("dial %+v: %q, want %q", d, c.Err, w.err)
		}
	} else if c.Err != "" || c.Who != w.who || stage.IP(c.SawClient) != w.client || c.SawLocal != d.To && w.who != "" && !strings.HasPrefix(w.who, "hbone") {
		t.Errorf("dial %+v: got %+v, want %+v", d, c, w)
	}
	if c.Err == "" && c.Peer != d.To {
		t.Errorf("dial %+v: getpeername says %s", d, c.Peer)
	}
	if c.Err == "" {
		if err := from.Ping(c); err != nil {
			t.Errorf("dial %+v: ping: %v", d, err)
		}
	}
	var got []string
	for _, e := range p.proxy.Log(t) {
		got = append(got, strings.TrimSpace(e.Kind+" "+strings.TrimPrefix(e.Pod, "uid-")+" "+stage.IP(e.Src)+">"+e.Dst+" "+e.Err))
	}
	slices.Sort(got)
	if !slices.Equal(got, slices.Sorted(slices.Values(w.events))) {
		t.Errorf("dial %+v: the proxy saw %q, want %q", d, got, w.events)
	}
	return c
}

func TestRedirect(t *testing.T) {
	p := newPlay(t)
	c, s, x := p.c, p.s, p.x
	kubelet := p.Box("kubelet")
	s4, s6, x4, x6 := stage.At(s.V4, 8080), stage.At(s.V6, 8080), stage.At(x.V4, 8080), stage.At(x.V6, 8080)
	c4, c6 := c.V4.String(), c.V6.String()
	out4, out6 := "out c "+c4+">", "out c "+c6+">"
	both4 := []string{out4 + s4, "in s " + c4 + ">" + s4}
	both6 := []string{out6 + s6, "in s " + c6 + ">" + s6}
	for _, tt := range []struct {
		name string
		from *stage.Process
		dial stage.Dial
		want want
	}{
		{"two hops v4", c.Process, stage.Dial{To: s4}, want{who: "s", client: c4, events: both4}},
		{"two hops v6", c.Process, stage.Dial{To: s6}, want{who: "s", client: c6, events: both6}},
		{"outbound v4", c.Process, stage.Dial{To: x4}, want{who: "x", client: c4, events: []string{out4 + x4}}},
		{"outbound v6", c.Process, stage.Dial{To: x6}, want{who: "x", client: c6, events: []string{out6 + x6}}},
		{"v4-mapped", c.Process, stage.Dial{To: x4, Mapped: true}, want{who: "x", client: c4, events: []string{out4 + x4}}},
		{"MPTCP v4", c.Process, stage.Dial{To: x4, MPTCP: true}, want{who: "x", client: c4, events: []string{out4 + x4}}},
		{"MPTCP v6", c.Process, stage.Dial{To: x6, MPTCP: true}, want{who: "x", client: c6, events: []string{out6 + x6}}},
		{"SO_BINDTODEVICE v4", c.Process, stage.Dial{To: x4, Device: "eth0"}, want{who: "x", client: c4, events: []string{out4 + x4}}},
		{"SO_BINDTODEVICE v6", c.Process, stage.Dial{To: x6, Device: "eth0"}, want{who: "x", client: c6, events: []string{out6 + x6}}},
		{"own SO_MARK v4", c.Process, stage.Dial{To: x4, Mark: 0x6d0}, want{who: "x", client: c4, events: []string{out4 + x4}}},
		{"own SO_MARK v6", c.Process, stage.Dial{To: x6, Mark: 0x539}, want{who: "x", client: c6, events: []string{out6 + x6}}},
		{"bind to pod address v4", c.Process, stage.Dial{To: x4, From: c4}, want{who: "x", client: c4, events: []string{out4 + x4}}},
		{"bind to pod address v6", c.Process, stage.Dial{To: x6, From: c6}, want{who: "x", client: c6, events: []string{out6 + x6}}},
		{"inbound keeps the client's address v4", x.Process, stage.Dial{To: s4}, want{who: "s", client: x.V4.String(), events: []string{"in s " + x.V4.String() + ">" + s4}}},
		{"inbound keeps the client's address v6", x.Process, stage.Dial{To: s6}, want{who: "s", client: x.V6.String(), events: []string{"in s " + x.V6.String() + ">" + s6}}},
		{"15008 v4", x.Process, stage.Dial{To: stage.At(s.V4, 15008)}, want{who: "hbone:uid-s", client: x.V4.String(), events: []string{"hbone s " + x.V4.String() + ">" + stage.At(s.V4, 15008)}}},
		{"15008 v6", x.Process, stage.Dial{To: stage.At(s.V6, 15008)}, want{who: "hbone:uid-s", client: x.V6.String(), events: []string{"hbone s " + x.V6.String() + ">" + stage.At(s.V6, 15008)}}},
		{"pod to itself v4", s.Process, stage.Dial{To: s4}, want{who: "s", client: s.V4.String()}},
		{"pod to itself v6", s.Process, stage.Dial{To: s6}, want{who: "s", client: s.V6.String()}},
		{"loopback v4", s.Process, stage.Dial{To: "127.0.0.1:8080"}, want{who: "s", client: "127.0.0.1"}},
		{"loopback v6", s.Process, stage.Dial{To: "[::1]:8080"}, want{who: "s", client: "::1"}},
		{"probe v4", kubelet, stage.Dial{To: s4}, want{who: "s", client: "10.77.2.1"}},
		{"probe v6", kubelet, stage.Dial{To: s6}, want{who: "s", client: "fd77:2::1"}},
		{"other process of the node v4", p.Process, stage.Dial{To: s4}, want{who: "s", client: "10.77.2.1", events: []string{"in s 10.77.2.1>" + s4}}},
		{"other process of the node v6", p.Process, stage.Dial{To: s6}, want{who: "s", client: "fd77:2::1", events: []string{"in s fd77:2::1>" + s6}}},
		{"probe to a pod outside of the mesh", kubelet, stage.Dial{To: x4}, want{who: "x", client: "10.77.3.1"}},
		{"outside to outside", p.Process, stage.Dial{To: x6}, want{who: "x", client: "fd77:3::1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := p.check(t, tt.from, tt.dial, tt.want)
			if conn.ID != 0 {
				tt.from.Close(t, conn)
			}
		})
	}
	t.Run("flows are gone", func(t *testing.T) {
		p.eventually("attested flows end with their connections", func() error { return p.flows(0, 0) })
	})
}

// A pod's other family is refused: without a listener, to let it pass would be a way around policy.
func TestPodsOfOneFamily(t *testing.T) {
	for _, family := range []int{4, 6} {
		h := newTheater(t)
		p := &play{theater: h, c: h.Pod("c"), s: h.Pod("s"), x: h.Pod("x")}
		p.c.Family, p.s.Family, p.x.Labels = family, family, "istio.io/dataplane-mode: none"
		for _, pod := range []*stage.Pod{p.c, p.s, p.x} {
			pod.Write()
		}
		h.Namespace(ambient, "")
		h.start()
		p.proxy = h.Proxy("proxy")
		h.become(agent.ActualEnrolled, "c", "s")
		for f, addr := range map[int][3]netip.Addr{4: {p.c.V4, p.s.V4, p.x.V4}, 6: {p.c.V6, p.s.V6, p.x.V6}} {
			from, to, outside := addr[0].String(), stage.At(addr[1], 8080), stage.At(addr[2], 8080)
			if f == family {
				p.check(t, p.c.Process, stage.Dial{To: to}, want{who: "s", client: from, events: []string{"out c " + from + ">" + to, "in s " + from + ">" + to}})
			} else {
				p.check(t, p.c.Process, stage.Dial{To: to}, want{err: "refused"})
				p.check(t, p.c.Process, stage.Dial{To: outside}, want{who: "x", client: from})
				p.check(t, p.s.Process, stage.Dial{To: to}, want{who: "s", client: addr[1].String()})
			}
		}
	}
}

func TestPodWithoutIPv6OnLoopback(t *testing.T) {
	h := newTheater(t)
	p := &play{theater: h, c: h.Pod("c"), s: h.Pod("s")}
	p.s.Sysctl(t, "ipv6/conf/lo/disable_ipv6", "1")
	h.Namespace(ambient, "")
	h.start()
	p.proxy = h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "c", "s")
	from, to := p.c.V4.String(), stage.At(p.s.V4, 8080)
	p.check(t, p.c.Process, stage.Dial{To: to}, want{who: "s", client: from, events: []string{"out c " + from + ">" + to, "in s " + from + ">" + to}})
	if s, err := h.pod("s"); err != nil || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], p.s.V6.String()+" is not captured") {
		t.Errorf("notes %q %v", s.Notes, err)
	}
}
