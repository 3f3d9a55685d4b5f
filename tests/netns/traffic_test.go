package netns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// shop is the usual lab: enrolled pods in "shop" and plain ones in "plain", on both nodes.
type shop struct {
	*mesh
	client, near, far                *lab.Pod // enrolled; client and near on node-a
	plainClient, plainNear, plainFar *lab.Pod
}

func newShop(t *testing.T, opts lab.Options) *shop {
	t.Helper()
	m := start(t, opts)
	s := &shop{mesh: m}
	must(t, m.LabelNamespace("plain", lab.ModeLabel, ""))
	must(t, m.Enrol("shop", true))
	s.client, s.near, s.far = m.pod(t, "shop/client", "node-a"), m.pod(t, "shop/near", "node-a"), m.pod(t, "shop/far", "node-b")
	s.plainClient, s.plainNear, s.plainFar = m.pod(t, "plain/client", "node-a"), m.pod(t, "plain/near", "node-a"), m.pod(t, "plain/far", "node-b")
	m.enrol(t, "shop", s.client, s.near, s.far)
	return s
}

func TestTraffic(t *testing.T) {
	s := newShop(t, lab.Options{})
	captured := []*lab.Pod{s.near, s.far}
	everywhere := []*lab.Pod{s.near, s.far, s.plainNear, s.plainFar}
	t.Run("from captured", func(t *testing.T) {
		each(t, everywhere, func(t *testing.T, v6 bool, to *lab.Pod) { s.talk(t, s.client, to, v6) })
	})
	t.Run("from uncaptured", func(t *testing.T) {
		each(t, everywhere, func(t *testing.T, v6 bool, to *lab.Pod) { s.talk(t, s.plainClient, to, v6) })
	})
	t.Run("only TLS on the fabric", s.onlyTLS)
	t.Run("half-close", func(t *testing.T) {
		each(t, everywhere, func(t *testing.T, v6 bool, to *lab.Pod) { halfClose(t, s.client, to, v6) })
	})
	t.Run("100 MB both ways", func(t *testing.T) {
		each(t, captured, func(t *testing.T, v6 bool, to *lab.Pod) { bulk(t, s.client, to, v6, 100<<20) })
	})
	t.Run("1000 at once", func(t *testing.T) {
		each(t, captured, func(t *testing.T, v6 bool, to *lab.Pod) { thousand(t, s.client, to, v6) })
	})
	t.Run("closed port", func(t *testing.T) {
		each(t, everywhere, func(t *testing.T, v6 bool, to *lab.Pod) { closedPort(t, s.client, to, v6) })
	})
	t.Run("unreachable host", func(t *testing.T) { both(t, s.unreachable) })
	t.Run("slow reader", func(t *testing.T) {
		each(t, captured, func(t *testing.T, v6 bool, to *lab.Pod) { slowReader(t, s.client, to, v6) })
	})
	t.Run("pod to itself", func(t *testing.T) { both(t, s.self) })
	t.Run("reset is passed on", func(t *testing.T) {
		each(t, captured, func(t *testing.T, v6 bool, to *lab.Pod) { resetPasses(t, s.client, to, v6) })
	})
}

// talk checks a server that speaks first, and that both see each other's real address.
func (s *shop) talk(t *testing.T, from, to *lab.Pod, v6 bool) {
	c, err := program(t, from).To(ctx(t), to.At(v6, portBanner))
	must(t, err)
	b, err := c.Banner(ctx(t))
	must(t, err)
	if got, want := netip.MustParseAddrPort(b.Remote).Addr(), netip.MustParseAddrPort(from.At(v6, 1)).Addr(); got != want {
		t.Errorf("the server sees %s, the client is %s", got, want)
	}
	if b.Local != to.At(v6, portBanner) || c.Remote != b.Local || b.Name != to.FullName() {
		t.Errorf("banner %+v at %s, client's peer %s", b, to.At(v6, portBanner), c.Remote)
	}
	must(t, c.Ping(ctx(t), []byte(strings.Repeat("ping", 10_000))...))
	must(t, c.Close(ctx(t)))
}

func (s *shop) onlyTLS(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		secret := fmt.Appendf(nil, "nobody may read this, v6=%v", v6)
		capture, err := s.Node("node-a").CaptureUplink()
		must(t, err)
		c, err := program(t, s.client).To(ctx(t), s.far.At(v6, portEcho))
		must(t, err)
		must(t, c.Ping(ctx(t), secret...))
		must(t, c.Close(ctx(t)))
		trace, err := capture.Stop()
		must(t, err)
		if trace.Contains(secret) {
			t.Error("plaintext on the fabric")
		}
		a, b := netip.MustParseAddrPort(s.client.At(v6, 1)).Addr(), netip.MustParseAddrPort(s.far.At(v6, 1)).Addr()
		for _, f := range trace.Between(a, b).Flows() {
			if f.Src.Port() != 15008 && f.Dst.Port() != 15008 {
				t.Errorf("flow %v -> %v is not a tunnel's", f.Src, f.Dst)
			}
		}
		must(t, trace.Between(a, b).OnlyTLS())
	})
}

// halfClose has the client end first, then the server.
func halfClose(t *testing.T, from, to *lab.Pod, v6 bool) {
	c, err := program(t, from).To(ctx(t), to.At(v6, portSink))
	must(t, err)
	must(t, c.Write(ctx(t), []byte("hello")))
	must(t, c.CloseWrite(ctx(t)))
	const digest = "5 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n"
	if b, err := c.Read(ctx(t), -1); err != nil || string(b) != digest {
		t.Errorf("answer after the client's half-close: %q, %v", b, err)
	}
	serverEndsFirst(t, from, to, v6)
}

func serverEndsFirst(t *testing.T, from, to *lab.Pod, v6 bool) {
	server := program(t, to)
	l, err := server.Listen(ctx(t), app.ListenArgs{Kind: app.HalfServer, Name: to.FullName()})
	must(t, err)
	defer server.Unlisten(ctx(t), l.ID)
	c, err := program(t, from).To(ctx(t), to.At(v6, port(l)))
	must(t, err)
	if b, err := c.Read(ctx(t), -1); err != nil || !strings.Contains(string(b), to.FullName()) {
		t.Errorf("banner before the server's half-close: %q, %v", b, err)
	}
	must(t, c.Write(ctx(t), []byte("still heard")))
	must(t, c.CloseWrite(ctx(t)))
	eventually(t, func() error {
		st, err := server.Stats(ctx(t), l.ID)
		if err == nil && (st.Received != 11 || st.Active != 0) {
			err = fmt.Errorf("after its half-close the server read %d bytes, want 11; %d connections", st.Received, st.Active)
		}
		return err
	})
}

func port(l app.Listening) int { return int(netip.MustParseAddrPort(l.Address).Port()) }

func bulk(t *testing.T, from, to *lab.Pod, v6 bool, n int64) {
	r, err := program(t, from).Bulk(ctx(t), app.BulkArgs{Dial: app.DialArgs{Address: to.At(v6, portBulk)}, Send: n, Receive: n})
	must(t, err)
	t.Logf("%d MB both ways in %s", n>>20, r.Took.Round(time.Millisecond))
}

func thousand(t *testing.T, from, to *lab.Pod, v6 bool) {
	a := program(t, from)
	g, err := a.Many(ctx(t), app.ManyArgs{Dial: app.DialArgs{Address: to.At(v6, portBanner), Timeout: 30 * time.Second}, N: 1000, Banner: true, Hold: true})
	must(t, err)
	if g.Report.OK != 1000 {
		t.Errorf("%d of 1000 connections work: %v", g.Report.OK, g.Report.Errors)
	}
	r, err := a.GroupPing(ctx(t), g.ID)
	must(t, err)
	if r.OK != g.Report.OK || r.Failed > 0 {
		t.Errorf("later %d of %d work: %v", r.OK, g.Report.OK, r.Errors)
	}
	must(t, a.GroupClose(ctx(t), g.ID))
}

// closedPort must end soon, by a refused connect or a reset: not by a timeout.
func closedPort(t *testing.T, from, to *lab.Pod, v6 bool) {
	mustFail(t, from, to.At(v6, portClosed), 8*time.Second)
}

func (s *shop) unreachable(t *testing.T, v6 bool) {
	v4, six := s.Node("node-b").Unused()
	to := netip.AddrPortFrom(v4, 80)
	if v6 {
		to = netip.AddrPortFrom(six, 80)
	}
	mustFail(t, s.client, to.String(), 30*time.Second)
}

// mustFail calls an address that must end within limit without an answer.
func mustFail(t *testing.T, from *lab.Pod, address string, limit time.Duration) {
	t.Helper()
	begin := time.Now()
	b, err := program(t, from).Ask(ctx(t), app.DialArgs{Address: address, Timeout: limit})
	switch took := time.Since(begin); {
	case err == nil:
		t.Errorf("%s answered %+v", address, b)
	case took > limit || strings.Contains(err.Error(), "timeout"):
		t.Errorf("%s failed after %s: %v", address, took, err)
	default:
		t.Logf("%s after %s", err, took.Round(time.Millisecond))
	}
}

func slowReader(t *testing.T, from, to *lab.Pod, v6 bool) {
	a := program(t, from)
	slow, err := a.To(ctx(t), to.At(v6, portSlow))
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- slow.Write(ctx(t), make([]byte, 1<<20)) }()
	fast, err := a.To(ctx(t), to.At(v6, portEcho)) // may share the slow one's tunnel connection
	must(t, err)
	for range 20 {
		must(t, fast.Ping(ctx(t), make([]byte, 100_000)...))
	}
	must(t, <-done)
	must(t, slow.CloseWrite(ctx(t)))
	b, err := slow.Read(ctx(t), -1)
	must(t, err)
	if !strings.HasPrefix(string(b), "1048576 ") {
		t.Errorf("the slow reader answers %q", b)
	}
}

func (s *shop) self(t *testing.T, v6 bool) {
	loopback := "127.0.0.1:8080"
	if v6 {
		loopback = "[::1]:8080"
	}
	for _, to := range []string{s.client.At(v6, portBanner), loopback} {
		b, err := program(t, s.client).Ask(ctx(t), app.DialArgs{Address: to})
		must(t, err)
		if b.Name != "shop/client" || b.Local != to {
			t.Errorf("%s: banner %+v", to, b)
		}
	}
}

func resetPasses(t *testing.T, from, to *lab.Pod, v6 bool) {
	server := program(t, to)
	l, err := server.Listen(ctx(t), app.ListenArgs{Kind: app.Mute})
	must(t, err)
	defer server.Unlisten(ctx(t), l.ID)
	c, err := program(t, from).To(ctx(t), to.At(v6, port(l)))
	must(t, err)
	must(t, c.Write(ctx(t), []byte("x")))
	eventually(t, func() error { return active(t, server, l.ID, 1) })
	must(t, c.Reset(ctx(t)))
	eventually(t, func() error { return active(t, server, l.ID, 0) })
}
