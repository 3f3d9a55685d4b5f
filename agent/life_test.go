package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
	"github.com/ambitmesh/ambit/agent/netns"
)

// hold opens one connection for each family.
func hold(t *testing.T, from *stage.Process, to *stage.Pod) []stage.Conn {
	t.Helper()
	var out []stage.Conn
	for _, addr := range []string{stage.At(to.V4, 8080), stage.At(to.V6, 8080)} {
		c := from.Dial(t, stage.Dial{To: addr})
		if c.Err != "" {
			t.Fatalf("dial %s: %s", addr, c.Err)
		}
		out = append(out, c)
	}
	return out
}

func alive(t *testing.T, from *stage.Process, when string, conns ...stage.Conn) {
	t.Helper()
	for _, c := range conns {
		if err := from.Ping(c); err != nil {
			t.Errorf("%s: connection to %s is broken: %v", when, c.Peer, err)
		}
	}
}

func TestConnectionsSurviveEnrolAndUnenrol(t *testing.T) {
	p := newPlay(t)
	p.proxy.Behave(t, stage.Manners{PlainKnown: true})
	out := hold(t, p.c.Process, p.s) // two hops
	in := hold(t, p.x.Process, p.s)  // inbound only
	p.Namespace("", "")
	p.become(agent.ActualDraining, "c", "s")
	alive(t, p.c.Process, "after un-enrol", out...)
	alive(t, p.x.Process, "after un-enrol", in...)
	plain := hold(t, p.c.Process, p.s)
	if log := p.proxy.Log(t); len(log) != 6 {
		t.Errorf("the proxy saw %d connections, want the first 6 only: %v", len(log), log)
	}
	t.Run("rules stay until the last connection has ended", func(t *testing.T) {
		if rules, routes := p.s.Rules(t, netns.Table); rules != 2 || routes != 2 {
			t.Errorf("%d rules and %d routes, want 2 and 2", rules, routes)
		}
		for _, c := range slices.Concat(out) {
			p.c.Close(t, c)
		}
		for _, c := range in {
			p.x.Close(t, c)
		}
		p.become(agent.ActualPlain, "c", "s")
		untouched(t, p.c)
		untouched(t, p.s)
	})
	p.Namespace(ambient, "")
	p.become(agent.ActualEnrolled, "c", "s")
	alive(t, p.c.Process, "plain, after enrol", plain...)
	again := hold(t, p.c.Process, p.s)
	alive(t, p.c.Process, "captured again", again...)
	if log := p.proxy.Log(t); len(log) != 4 {
		t.Errorf("the proxy saw %d connections, want 4: %v", len(log), log)
	}
}

// untouched says that nothing of the agent is in the pod.
func untouched(t *testing.T, p *stage.Pod) {
	t.Helper()
	if rules, routes := p.Rules(t, netns.Table); rules != 0 || routes != 0 {
		t.Errorf("pod %s: %d rules and %d routes are left", p.Name, rules, routes)
	}
	for _, key := range []string{"ipv4/tcp_fwmark_accept", "ipv4/fwmark_reflect", "ipv6/fwmark_reflect"} {
		if v := p.Sysctl(t, key, ""); v != "0" {
			t.Errorf("pod %s: sysctl %s is %s", p.Name, key, v)
		}
	}
}

func TestUnenrolWaitsUntilTheMeshKnows(t *testing.T) {
	p := newPlay(t)
	p.Namespace("", "")
	p.become(agent.ActualRetiring, "c", "s")
	// Outbound is off, inbound and 15008 stay.
	p.check(t, p.c.Process, stage.Dial{To: stage.At(p.s.V4, 8080)}, want{who: "s", client: p.c.V4.String(), events: []string{"in s " + p.c.V4.String() + ">" + stage.At(p.s.V4, 8080)}})
	p.check(t, p.x.Process, stage.Dial{To: stage.At(p.s.V6, 15008)}, want{who: "hbone:uid-s", client: p.x.V6.String(), events: []string{"hbone s " + p.x.V6.String() + ">" + stage.At(p.s.V6, 15008)}})
	p.proxy.Behave(t, stage.Manners{PlainKnown: true})
	p.become(agent.ActualDraining, "s")
	p.check(t, p.c.Process, stage.Dial{To: stage.At(p.s.V4, 8080)}, want{who: "s", client: p.c.V4.String()})
}

func TestOutboundWaitsForTheProxy(t *testing.T) {
	h := newTheater(t)
	p := &play{theater: h, c: h.Pod("c"), s: h.Pod("s")}
	h.Namespace(ambient, "")
	h.start()
	p.proxy = h.Role("proxy", "proxy", "AMBIT_STAGE_ZDS="+h.Socket(), "AMBIT_STAGE_WAITING=certificate")
	h.says("c", agent.ActualEnrolling, "no certificate")
	h.says("s", agent.ActualEnrolling, "no certificate")
	from, to := p.c.V4.String(), stage.At(p.s.V4, 8080)
	p.check(t, p.c.Process, stage.Dial{To: to}, want{who: "s", client: from, events: []string{"in s " + from + ">" + to}})
	p.proxy.Behave(t, stage.Manners{Waiting: "announcement"})
	h.says("c", agent.ActualEnrolling, "the mesh does not know the pod yet")
	p.check(t, p.c.Process, stage.Dial{To: to}, want{who: "s", client: from, events: []string{"out c " + from + ">" + to, "in s " + from + ">" + to}})
	p.proxy.Behave(t, stage.Manners{})
	h.become(agent.ActualEnrolled, "c", "s")
}

func TestHundredLabelCyclesUnderTraffic(t *testing.T) {
	p := newPlay(t)
	p.proxy.Behave(t, stage.Manners{PlainKnown: true})
	stops := []func() stage.Tally{
		p.c.Storm(t, stage.Dial{To: stage.At(p.s.V4, 8080)}),
		p.x.Storm(t, stage.Dial{To: stage.At(p.s.V6, 8080)}),
	}
	cycles := 100
	if testing.Short() {
		cycles = 10
	}
	for i := range cycles {
		p.Namespace("", "")
		if i%4 == 0 { // sometimes to the end, mostly half way
			p.eventually("c is un-enrolled", func() error { return p.past("c") })
		} else {
			time.Sleep(time.Duration(i%7) * 20 * time.Millisecond)
		}
		p.Namespace(ambient, "")
		if i%3 == 0 {
			p.become(agent.ActualEnrolled, "c", "s")
		}
	}
	for _, stop := range stops {
		if got := stop(); len(got.Failed) > 0 || got.OK == 0 {
			t.Errorf("%d connections were good, these failed:\n%s", got.OK, strings.Join(got.Failed, "\n"))
		} else {
			t.Logf("%d connections, the slowest took %s", got.OK, got.Slow)
		}
	}
	for _, e := range p.proxy.Log(t) {
		if e.Err != "" {
			t.Errorf("the proxy could not dial: %+v", e)
		}
	}
	p.become(agent.ActualEnrolled, "c", "s")
}

// past says whether a pod's inbound is plain.
func (h *theater) past(name string) error {
	s, err := h.pod(name)
	if err == nil && s.Actual != agent.ActualDraining && s.Actual != agent.ActualPlain {
		err = fmt.Errorf("it is %s: %s", s.Actual, s.Why)
	}
	return err
}

func TestSocketThatWasCapturedConnectsAgainAfterUnenrol(t *testing.T) {
	p := newPlay(t)
	p.proxy.Behave(t, stage.Manners{PlainKnown: true})
	held := hold(t, p.c.Process, p.s) // keeps the pod's rules
	for _, c := range hold(t, p.c.Process, p.s) {
		p.Namespace("", "")
		p.become(agent.ActualDraining, "c", "s")
		to := stage.At(p.x.V4, 8080)
		if strings.HasPrefix(c.Peer, "[") {
			to = stage.At(p.x.V6, 8080)
		}
		p.proxy.Log(t)
		if err := p.c.Reuse(c, to); err != nil {
			t.Errorf("connect again: %v", err)
		}
		if got, err := p.c.Bulk(c, 10); err != nil || got <= 10 {
			t.Errorf("connection to %s: %d bytes, %v", to, got, err)
		}
		if log := p.proxy.Log(t); len(log) != 0 {
			t.Errorf("the proxy saw %v", log)
		}
	}
	alive(t, p.c.Process, "meanwhile", held...)
}

func TestClosedPortAnswersAtOnce(t *testing.T) {
	p := newPlay(t)
	for _, addr := range []string{stage.At(p.s.V4, 9), stage.At(p.s.V6, 9)} {
		p.proxy.Log(t)
		c := p.x.Dial(t, stage.Dial{To: addr, Timeout: time.Minute})
		if c.Err == "" {
			t.Errorf("dial %s: no error", addr)
		}
		if log := p.proxy.Log(t); len(log) != 1 || !strings.Contains(log[0].Err, "refused") { // without fwmark_reflect: a timeout
			t.Errorf("dial %s: the proxy saw %v, want one refused leg", addr, log)
		}
	}
}

func TestBulkWithHalfClose(t *testing.T) {
	p := newPlay(t)
	for _, c := range hold(t, p.c.Process, p.s) {
		const n = 4 << 20
		if got, err := p.c.Bulk(c, n); err != nil || got != n {
			t.Errorf("%s: %d of %d bytes came back: %v", c.Peer, got, n, err)
		}
	}
}

func TestSyncookies(t *testing.T) {
	p := newPlay(t)
	kubelet := p.Box("kubelet")
	for _, ns := range []*stage.Process{p.c.Process, p.s.Process, p.x.Process} {
		ns.Sysctl(t, "ipv4/tcp_syncookies", "2")
		ns.Sysctl(t, "ipv4/conf/all/rp_filter", "1")
	}
	for _, to := range []*stage.Pod{p.s, p.x} {
		alive(t, p.c.Process, "with cookies", hold(t, p.c.Process, to)...)
	}
	alive(t, p.x.Process, "inbound with cookies", hold(t, p.x.Process, p.s)...)
	p.proxy.Log(t)
	alive(t, kubelet, "probe with cookies", hold(t, kubelet, p.s)...)
	if log := p.proxy.Log(t); len(log) != 0 {
		t.Errorf("the proxy saw probes: %v", log)
	}
}

func TestExcludedPorts(t *testing.T) {
	p := newPlay(t)
	p.s.Listen(t, ":9090", "s9090")
	p.s.Notes = `, ambit.dev/exclude-inbound-ports: "9090, 15008, nonsense"`
	p.s.Write()
	p.eventually("ports are excluded", func() error {
		s, err := p.pod("s")
		if err == nil && (!slices.Equal(s.ExcludedInbound, []uint16{9090}) || len(s.Notes) != 2) {
			err = fmt.Errorf("excluded %v, notes %q", s.ExcludedInbound, s.Notes)
		}
		return err
	})
	for _, addr := range []string{stage.At(p.s.V4, 9090), stage.At(p.s.V6, 9090)} {
		p.eventually("port is reached unproxied", func() error {
			p.proxy.Log(t)
			c := p.x.Dial(t, stage.Dial{To: addr})
			if log := p.proxy.Log(t); c.Who != "s9090" || len(log) != 0 {
				return fmt.Errorf("%+v through %v", c, log)
			}
			return nil
		})
	}
	p.check(t, p.x.Process, stage.Dial{To: stage.At(p.s.V4, 8080)}, want{who: "s", client: p.x.V4.String(), events: []string{"in s " + p.x.V4.String() + ">" + stage.At(p.s.V4, 8080)}})
	p.Put("strict", "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n")
	to := stage.At(p.s.V4, 9090)
	p.eventually("the exclusion is void under STRICT", func() error {
		p.proxy.Log(t)
		c := p.x.Dial(t, stage.Dial{To: to})
		if log := p.proxy.Log(t); c.Err != "" || len(log) != 1 {
			return fmt.Errorf("%+v through %v", c, log)
		}
		return nil
	})
}

func TestLegLimitCrowdsOutNoProbe(t *testing.T) {
	h := newTheater(t)
	h.setup.LegLimit = 8
	p := &play{theater: h, c: h.Pod("c"), s: h.Pod("s"), x: h.Pod("x")}
	h.Namespace(ambient, "")
	h.start()
	h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "c", "s", "x")
	kubelet := p.Box("kubelet")
	var good []stage.Conn
	for range 12 {
		if c := p.x.Dial(t, stage.Dial{To: stage.At(p.s.V4, 8080)}); c.Err == "" {
			good = append(good, c)
		}
	}
	if len(good) != 8 || h.count("refused_leg_limit") != 4 {
		t.Errorf("%d connections were good and %d legs refused, want 8 and 4", len(good), h.count("refused_leg_limit"))
	}
	alive(t, kubelet, "probe of a pod at its limit", hold(t, kubelet, p.s)...)
	alive(t, p.x.Process, "connection to another pod", hold(t, p.x.Process, p.c)...)
	if err := h.flows(10, 2); err != nil {
		t.Error(err)
	}
	for _, c := range good {
		p.x.Close(t, c)
	}
	h.eventually("legs end", func() error { return h.flows(2, 2) })
	alive(t, p.x.Process, "after the limit", hold(t, p.x.Process, p.s)...)
}
