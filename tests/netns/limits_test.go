package netns

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestLimits has one pod use all that it may: its neighbours notice nothing.
func TestLimits(t *testing.T) {
	s := newShop(t, lab.Options{})
	hog, victim := s.pod(t, "shop/hog", "node-a"), s.pod(t, "shop/victim", "node-b")
	must(t, lab.WaitEnrolled(ctx(t), hog, victim))
	must(t, s.waitTunnels(ctx(t), hog, victim))
	x := s.traffic(t)
	opened := 0
	var groups []int
	for range 11 { // a pod may have 10,000 connections
		g, err := program(t, hog).Many(ctx(t), app.ManyArgs{Dial: app.DialArgs{Address: victim.At(false, portBanner), Timeout: 30 * time.Second}, N: 1000, Banner: true, Hold: true})
		must(t, err)
		opened += g.Report.OK
		groups = append(groups, g.ID)
	}
	if opened < 5000 || opened > 10_000 {
		t.Errorf("the pod has %d connections", opened)
	}
	must(t, s.logged("node-a", `"limit"`, `"hog"`))
	x.nothingFailed(t)
	for _, id := range groups {
		must(t, program(t, hog).GroupClose(ctx(t), id))
	}
	eventually(t, func() error { return answers(ctx(t), program(t, hog), victim.At(false, portBanner)) })
}

// TestHostilePods has a denied pod and one that sends garbage call 1,000 times each: nothing is ejected for
// others, and others notice nothing.
func TestHostilePods(t *testing.T) {
	s := newShop(t, lab.Options{})
	denied, noisy := s.pod(t, "shop/denied", "node-a"), s.pod(t, "shop/noisy", "node-a")
	one, two := s.backend(t, "one", "node-a", "web"), s.backend(t, "two", "node-b", "web")
	must(t, lab.WaitEnrolled(ctx(t), denied, noisy))
	web := s.service(t, "web")
	s.eject(t, "shop", "web", "60s")
	s.authorize(t, "shop", "it", "web", "DENY", `
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/denied"]}}]
`)
	eventually(t, func() error { return refused(ctx(t), program(t, denied), web.At(false, 80)) })
	stop := callsTo(t, s.client, web.At(false, 80))
	both(t, func(t *testing.T, v6 bool) {
		s.thousandTimes(t, denied, web.At(v6, 80), "hello")
		s.thousandTimes(t, noisy, web.At(v6, 80), strings.Repeat("\x00\xff garbage", 100))
		for _, p := range []*lab.Pod{one, two} { // to the tunnels' own port, as a plain pod can
			s.thousandTimes(t, s.plainClient, p.At(v6, 15008), strings.Repeat("\x16\x03 garbage", 100))
		}
	})
	for _, node := range []string{"node-a", "node-b"} {
		must(t, s.ejected(node, "web", one, false))
		must(t, s.ejected(node, "web", two, false))
	}
	r := stop(t)
	noneFailed(t, r)
	if r.Names[one.FullName()] == 0 || r.Names[two.FullName()] == 0 {
		t.Errorf("answered by %v", r.Names)
	}
}

// TestBorrowedAddress has a pod call with another's address as its source: it is judged as what it is.
func TestBorrowedAddress(t *testing.T) {
	s := newShop(t, lab.Options{})
	liar, lender := s.pod(t, "shop/liar", "node-a"), s.pod(t, "shop/lender", "node-a")
	plainLiar := s.plainClient
	must(t, lab.WaitEnrolled(ctx(t), liar, lender))
	must(t, s.waitTunnels(ctx(t), liar, lender))
	for _, to := range []string{"near", "far"} {
		s.authorize(t, "shop", to, to, "ALLOW", `
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/lender"]}}]
`)
	}
	for _, p := range []*lab.Pod{liar, plainLiar} {
		for _, a := range lender.Addresses() {
			must(t, p.AddAddress(a))
		}
	}
	each(t, []*lab.Pod{s.near, s.far}, func(t *testing.T, v6 bool, to *lab.Pod) {
		eventually(t, func() error { return refused(ctx(t), program(t, s.client), to.At(v6, portBanner)) })
		must(t, answers(ctx(t), program(t, lender), to.At(v6, portBanner)))
		local := netip.MustParseAddrPort(lender.At(v6, 0)).Addr().String()
		for _, p := range []*lab.Pod{liar, plainLiar} {
			b, err := program(t, p).Ask(ctx(t), app.DialArgs{Address: to.At(v6, portBanner), Local: local, Timeout: 2 * time.Second})
			if err == nil {
				t.Errorf("%s passed as another pod: %+v", p.FullName(), b)
			}
		}
		must(t, answers(ctx(t), program(t, lender), to.At(v6, portBanner)))
	})
}

func (s *shop) thousandTimes(t *testing.T, from *lab.Pod, address, payload string) {
	t.Helper()
	r, err := program(t, from).Garbage(ctx(t), app.GarbageArgs{Dial: app.DialArgs{Address: address, Timeout: time.Second}, N: 1000, Workers: 16, Payload: []byte(payload)})
	must(t, err)
	t.Logf("from %s: %d ended, %d failed %v", from.FullName(), r.OK, r.Failed, r.Errors)
}

// TestReservedPorts calls the mesh's own ports.
func TestReservedPorts(t *testing.T) {
	s := newShop(t, lab.Options{})
	for _, port := range []int{15001, 15006, 15008} {
		t.Run(strconv.Itoa(port), func(t *testing.T) { s.reserved(t, port) })
	}
	s.works(t)
}

func (s *shop) reserved(t *testing.T, port int) {
	each(t, []*lab.Pod{s.client, s.near, s.far}, func(t *testing.T, v6 bool, to *lab.Pod) {
		s.unheard(t, s.client, to.At(v6, port))
		s.unheard(t, s.plainClient, to.At(v6, port))
	})
}

// unheard speaks plaintext to an address where nobody answers it, and is soon cut off.
func (s *shop) unheard(t *testing.T, from *lab.Pod, address string) {
	t.Helper()
	c, err := program(t, from).Dial(ctx(t), app.DialArgs{Address: address, Timeout: 8 * time.Second})
	if err == nil && c.Write(ctx(t), []byte("GET / HTTP/1.1\r\n\r\n")) == nil { // a reset is what is wanted
		var how string
		if how, err = c.Ended(ctx(t), 8*time.Second); err == nil && how != "EOF" {
			err = errors.New(how)
		}
	}
	if err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("from %s to %s: %v", from.FullName(), address, err)
	}
}
