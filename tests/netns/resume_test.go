package netns

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/lab"
)

// TestResumption: a tunnel connection that was lost is made again from its TLS session, and both proxies
// say so.
func TestResumption(t *testing.T) {
	s := newShop(t, lab.Options{})
	a, to := program(t, s.client), s.far.At(false, portBanner)
	must(t, answers(ctx(t), a, to))
	full := s.shakes(t, "false")
	for i := range 3 {
		must(t, loseTunnels(s.client))
		eventually(t, func() error { return answers(ctx(t), a, to) })
		if got := s.shakes(t, "true"); got[0] < float64(i+1) || got[1] < float64(i+1) {
			t.Fatalf("after %d lost connections %v were resumed", i+1, got)
		}
	}
	if got := s.shakes(t, "false"); got != full {
		t.Errorf("full handshakes: %v, then %v", full, got)
	}
}

// shakes is how many handshakes were resumed, or full: the client's of one node, the server's of the other.
func (s *shop) shakes(t *testing.T, resumed string) (n [2]float64) {
	t.Helper()
	for i, x := range []struct{ node, role string }{{"node-a", "client"}, {"node-b", "server"}} {
		var err error
		n[i], err = s.metric(ctx(t), x.node, "ambit_handshakes_total", `role="`+x.role+`"`, `resumed="`+resumed+`"`)
		must(t, err)
	}
	return n
}

// loseTunnels destroys the connections that carry what a pod sends.
func loseTunnels(p *lab.Pod) error {
	return p.Do(func() error {
		all, err := netlink.SocketDiagTCP(unix.AF_INET)
		if err != nil {
			return fmt.Errorf("list sockets of %s: %w", p.FullName(), err)
		}
		lost := 0
		for _, s := range all {
			if s.ID.DestinationPort != 15008 || s.State != netlink.TCP_ESTABLISHED {
				continue
			}
			from := &net.TCPAddr{IP: s.ID.Source, Port: int(s.ID.SourcePort)}
			if err := netlink.SocketDestroy(from, &net.TCPAddr{IP: s.ID.Destination, Port: 15008}); err != nil {
				return fmt.Errorf("destroy a socket of %s: %w", p.FullName(), err)
			}
			lost++
		}
		if lost == 0 {
			return errors.New("no tunnel connection of " + p.FullName())
		}
		return nil
	})
}
