package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/load"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

const hbonePort = 15008

// again connects anew to peers that were connected to before, after their tunnels are gone: sessions are
// resumed. Without resumption there is nothing to measure.
func (r *runner) again(ctx context.Context, w *world, c chain, addrs []string, workload string, round int) error {
	if n, err := cut(c.client); err != nil || n < len(addrs) {
		return fmt.Errorf("%d of %d tunnels ended: %w", n, len(addrs), err)
	}
	before, err := resumed(ctx, c.client.Node)
	if err != nil {
		return err
	}
	samples, err := w.visited(ctx, c, addrs, workload+report.Resumed)
	if err != nil {
		return err
	}
	after, err := resumed(ctx, c.client.Node)
	if err != nil {
		return err
	}
	if got := after - before; got < 0.9*float64(len(addrs)) {
		return fmt.Errorf("%.0f of %d handshakes were resumed", got, len(addrs))
	}
	r.add(round, samples...)
	return nil
}

// cut destroys a pod's tunnels and says how many.
func cut(p *lab.Pod) (n int, err error) {
	err = p.Do(func() error {
		all, err := netlink.SocketDiagTCP(unix.AF_INET)
		if err != nil {
			return fmt.Errorf("list sockets of %s: %w", p.FullName(), err)
		}
		for _, s := range all {
			if s.ID.DestinationPort != hbonePort || s.State != netlink.TCP_ESTABLISHED {
				continue
			}
			from := &net.TCPAddr{IP: s.ID.Source, Port: int(s.ID.SourcePort)}
			to := &net.TCPAddr{IP: s.ID.Destination, Port: int(s.ID.DestinationPort)}
			if err := netlink.SocketDestroy(from, to); err != nil {
				return fmt.Errorf("destroy tunnel %s to %s: %w", from, to, err)
			}
			n++
		}
		return nil
	})
	return n, err
}

// resumed is how many handshakes a node's ztunnel has resumed as a client.
func resumed(ctx context.Context, n *lab.Node) (float64, error) {
	b, err := n.GetZtunnel(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "ambit_handshakes_total{") || !strings.Contains(line, `role="client"`) || !strings.Contains(line, `resumed="true"`) {
			continue
		}
		name, _, _ := strings.Cut(line, " ")
		v, _ := load.Field(line, name)
		sum += v
	}
	return sum, nil
}
