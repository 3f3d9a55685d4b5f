package netns

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestPlaces calls from and to places that are neither enrolled nor plain pods.
func TestPlaces(t *testing.T) {
	s := newShop(t, lab.Options{})
	both(t, func(t *testing.T, v6 bool) {
		t.Run("UDP is left alone", func(t *testing.T) { s.udp(t, v6) })
		t.Run("a container's cgroup below the pod's", func(t *testing.T) { s.nested(t, v6) })
		t.Run("a server on loopback is not reached from outside", func(t *testing.T) { s.onLoopback(t, v6) })
		t.Run("to a node and to a machine outside", func(t *testing.T) { s.egress(t, v6) })
		t.Run("from a process of the node, PERMISSIVE", func(t *testing.T) { s.fromNode(t, v6) })
		t.Run("a service's own pod calls the service", func(t *testing.T) { s.hairpin(t, v6) })
	})
}

func (s *shop) udp(t *testing.T, v6 bool) {
	for _, to := range []*lab.Pod{s.near, s.far, s.plainFar} {
		port := 5000
		if v6 {
			port = 5001
		}
		_, err := program(t, to).ListenUDP(ctx(t), port)
		must(t, err)
		for _, from := range []*lab.Pod{s.client, s.plainClient} {
			must(t, program(t, from).PingUDP(ctx(t), to.At(v6, port)))
		}
	}
}

// nested starts the client where a container runtime would.
func (s *shop) nested(t *testing.T, v6 bool) {
	dir := filepath.Join(s.client.Cgroup(), fmt.Sprintf("container-%v", v6))
	must(t, os.Mkdir(dir, 0o755))
	a, err := s.client.StartApp(dir)
	must(t, err)
	defer a.Close()
	c, err := a.To(ctx(t), s.far.At(v6, portBanner))
	must(t, err)
	_, err = c.Banner(ctx(t))
	must(t, err)
	x, err := s.outbound(ctx(t), "node-a", s.client, netip.MustParseAddrPort(c.Local).Port())
	must(t, err)
	if x.Path != "tunnel" {
		t.Errorf("the connection went %+v", x)
	}
}

func (s *shop) onLoopback(t *testing.T, v6 bool) {
	host := "127.0.0.1"
	if v6 {
		host = "::1"
	}
	for _, to := range []*lab.Pod{s.near, s.far} {
		l, err := program(t, to).Listen(ctx(t), app.ListenArgs{Kind: app.Banner, Host: host})
		must(t, err)
		must(t, refused(ctx(t), program(t, s.client), to.At(v6, port(l))))
		must(t, refused(ctx(t), program(t, s.plainClient), to.At(v6, port(l))))
		must(t, answers(ctx(t), program(t, to), l.Address))
	}
}

// egress leaves the mesh: the server sees the pod's own address.
func (s *shop) egress(t *testing.T, v6 bool) {
	for name, place := range map[string]struct {
		app    func() (*lab.App, error)
		v4, v6 netip.Addr
	}{
		"own node":   {s.Node("node-a").Process, s.Node("node-a").V4, s.Node("node-a").V6},
		"other node": {s.Node("node-b").Process, s.Node("node-b").V4, s.Node("node-b").V6},
		"outside":    {func() (*lab.App, error) { return s.ControllerHost().StartApp("") }, netip.MustParseAddr("10.250.0.2"), netip.MustParseAddr("fd00:250::2")},
	} {
		a, err := place.app()
		must(t, err)
		defer a.Close()
		l, err := a.Listen(ctx(t), app.ListenArgs{Kind: app.Banner, Name: "it"})
		must(t, err)
		to := netip.AddrPortFrom(place.v4, uint16(port(l)))
		if v6 {
			to = netip.AddrPortFrom(place.v6, uint16(port(l)))
		}
		b, err := program(t, s.client).Ask(ctx(t), app.DialArgs{Address: to.String()})
		must(t, err)
		if got, want := netip.MustParseAddrPort(b.Remote).Addr(), netip.MustParseAddrPort(s.client.At(v6, 1)).Addr(); got != want {
			t.Errorf("%s sees %s, the client is %s", name, got, want)
		}
	}
}

func (s *shop) fromNode(t *testing.T, v6 bool) {
	for _, n := range []string{"node-a", "node-b"} {
		a, err := s.Node(n).Process()
		must(t, err)
		defer a.Close()
		for _, to := range []*lab.Pod{s.near, s.far} {
			must(t, answers(ctx(t), a, to.At(v6, portBanner)))
		}
	}
}

func (s *shop) hairpin(t *testing.T, v6 bool) {
	name := fmt.Sprintf("round-%v", v6)
	p := s.backend(t, name, "node-a", name)
	v := s.service(t, name)
	b, err := program(t, p).Ask(ctx(t), app.DialArgs{Address: v.At(v6, 80)})
	must(t, err)
	if b.Name != p.FullName() {
		t.Errorf("banner %+v", b)
	}
}
