package netns

import (
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestSockets checks that no option of a socket takes a connection out of the mesh.
func TestSockets(t *testing.T) {
	s := newShop(t, lab.Options{})
	for _, c := range []struct {
		name   string
		change func(*app.DialArgs)
		only4  bool
	}{
		{"SO_BINDTODEVICE", func(d *app.DialArgs) { d.Device = "eth0" }, false},
		{"own SO_MARK", func(d *app.DialArgs) { d.Mark = 0x77 }, false},
		{"MPTCP", func(d *app.DialArgs) { d.MPTCP = true }, false},
		{"v4-mapped", func(d *app.DialArgs) { d.Mapped = true }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, []*lab.Pod{s.near, s.far}, func(t *testing.T, v6 bool, to *lab.Pod) {
				if v6 && c.only4 {
					return
				}
				d := app.DialArgs{Address: to.At(v6, portBanner)}
				c.change(&d)
				s.captured(t, d, to, v6)
			})
		})
	}
	t.Run("bound to the pod's address", func(t *testing.T) {
		each(t, []*lab.Pod{s.near, s.far}, func(t *testing.T, v6 bool, to *lab.Pod) {
			local := netip.MustParseAddrPort(s.client.At(v6, 0)).Addr().String()
			s.captured(t, app.DialArgs{Address: to.At(v6, portBanner), Local: local}, to, v6)
		})
	})
	t.Run("MPTCP server", func(t *testing.T) {
		each(t, []*lab.Pod{s.near, s.far}, func(t *testing.T, v6 bool, to *lab.Pod) {
			l, err := program(t, to).Listen(ctx(t), app.ListenArgs{Kind: app.Banner, MPTCP: true, Name: to.FullName()})
			must(t, err)
			s.captured(t, app.DialArgs{Address: to.At(v6, port(l)), MPTCP: true}, to, v6)
		})
	})
}

// captured makes a connection and finds it at the proxy of the client's node.
func (s *shop) captured(t *testing.T, d app.DialArgs, to *lab.Pod, v6 bool) {
	c, err := program(t, s.client).Dial(ctx(t), d)
	must(t, err)
	b, err := c.Banner(ctx(t))
	must(t, err)
	must(t, c.Ping(ctx(t)))
	if b.Name != to.FullName() {
		t.Errorf("banner %+v", b)
	}
	if got, want := netip.MustParseAddrPort(b.Remote).Addr(), netip.MustParseAddrPort(s.client.At(v6, 1)).Addr(); got != want {
		t.Errorf("the server sees %s, the client is %s", got, want)
	}
	x, err := s.outbound(ctx(t), "node-a", s.client, netip.MustParseAddrPort(c.Local).Port())
	must(t, err)
	if x.Path == "plain" || x.Destination.Identity != to.Identity() {
		t.Errorf("the connection went %+v", x)
	}
	must(t, c.Close(ctx(t)))
}
